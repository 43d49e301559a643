// Maths in LaTeX notation as MathML, which browsers draw themselves. Unknown commands stay as text.

const MATHML = "http://www.w3.org/1998/Math/MathML";

const SYMBOLS = {
  times: "×", cdot: "⋅", div: "÷", pm: "±", mp: "∓", le: "≤", leq: "≤", ge: "≥", geq: "≥", ne: "≠", neq: "≠", approx: "≈",
  equiv: "≡", sim: "∼", infty: "∞", to: "→", rightarrow: "→", Rightarrow: "⇒", implies: "⇒", iff: "⇔", leftarrow: "←", mapsto: "↦", in: "∈",
  notin: "∉", subset: "⊂", subseteq: "⊆", cup: "∪", cap: "∩", emptyset: "∅", forall: "∀", exists: "∃", partial: "∂", nabla: "∇",
  sum: "∑", prod: "∏", int: "∫", ldots: "…", cdots: "⋯", dots: "…", therefore: "∴", because: "∵", angle: "∠", circ: "∘", degree: "°",
  mid: "∣", parallel: "∥", perp: "⊥", lfloor: "⌊", rfloor: "⌋", lceil: "⌈", rceil: "⌉", langle: "⟨", rangle: "⟩", ast: "∗", star: "⋆",
  alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ϵ", varepsilon: "ε", zeta: "ζ", eta: "η", theta: "θ", iota: "ι", kappa: "κ",
  lambda: "λ", mu: "μ", nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", upsilon: "υ", phi: "ϕ", varphi: "φ", chi: "χ",
  psi: "ψ", omega: "ω", Gamma: "Γ", Delta: "Δ", Theta: "Θ", Lambda: "Λ", Xi: "Ξ", Pi: "Π", Sigma: "Σ", Phi: "Φ", Psi: "Ψ", Omega: "Ω",
  "{": "{", "}": "}", "%": "%", $: "$", "&": "&", "#": "#", _: "_", "|": "‖",
};
const FUNCTIONS = new Set(["sin", "cos", "tan", "log", "ln", "exp", "lim", "max", "min", "gcd", "lcm", "det", "mod", "arcsin", "arccos", "arctan"]);
const SPACES = { ",": "0.17em", ":": "0.22em", ";": "0.28em", "!": "0", " ": "0.25em", quad: "1em", qquad: "2em" };
const TEXTS = new Set(["text", "textbf", "mathrm", "mathbf", "mathit", "mathbb", "mathcal", "operatorname", "mbox"]);
const MAX_DEPTH = 40;

function ml(tag, options, ...children) {
  return fill(document.createElementNS(MATHML, tag), options, children);
}

function maths(source, isBlock = false) {
  const tokens = source.match(/\\[a-zA-Z]+|\\[\s\S]|\d+(?:[.,]\d+)*|\s+|[\s\S]/g) ?? [];
  return ml("math", { display: isBlock ? "block" : "inline", "aria-label": source.trim() }, new MathsReader(tokens).row());
}

class MathsReader {
  constructor(tokens) {
    this.tokens = tokens;
    this.at = 0;
    this.depth = 0;
  }

  row(end = null) {
    const items = [];
    this.depth += 1;
    while (this.at < this.tokens.length && this.tokens[this.at] !== end) {
      const item = this.scripted();
      if (item) items.push(item);
    }
    this.at += 1;
    this.depth -= 1;
    return ml("mrow", {}, items);
  }

  scripted() {
    const base = this.atom();
    let below = null, above = null;
    for (;;) {
      while (/^\s+$/.test(this.tokens[this.at] ?? "")) this.at += 1;
      const next = this.tokens[this.at];
      if (next === "_" && !below) below = this.argument(1);
      else if (next === "^" && !above) above = this.argument(1);
      else if (next === "'" && !above) { this.at += 1; above = ml("mo", {}, "′"); }
      else break;
    }
    if (!below && !above) return base;
    const core = base ?? ml("mrow");
    if (below && above) return ml("msubsup", {}, core, below, above);
    return below ? ml("msub", {}, core, below) : ml("msup", {}, core, above);
  }

  // The next argument, after `skip` tokens: a group in braces or one token.
  argument(skip = 0) {
    this.at += skip;
    while (/^\s+$/.test(this.tokens[this.at] ?? "")) this.at += 1;
    return this.atom() ?? ml("mrow");
  }

  // The source of a group in braces.
  raw() {
    while (/^\s+$/.test(this.tokens[this.at] ?? "")) this.at += 1;
    if (this.tokens[this.at] !== "{") return this.tokens[this.at++] ?? "";
    let depth = 0, text = "";
    for (; this.at < this.tokens.length; this.at += 1) {
      const token = this.tokens[this.at];
      if (token === "{" && depth++ === 0) continue;
      if (token === "}" && --depth === 0) { this.at += 1; break; }
      text += token;
    }
    return text;
  }

  atom() {
    const token = this.tokens[this.at++];
    if (token === undefined || /^\s+$/.test(token)) return null;
    if (this.depth > MAX_DEPTH) return ml("mtext", {}, shown(token));
    if (token === "{") return this.row("}");
    if (token === "}" || token === "&") return null;
    if (token.startsWith("\\")) return this.command(token.slice(1));
    if (/^\d/.test(token)) return ml("mn", {}, token);
    if (/\p{L}/u.test(token)) return ml("mi", {}, token);
    return ml("mo", "()[]|".includes(token) ? { stretchy: "false" } : {}, { "-": "−", "*": "∗" }[token] ?? shown(token));
  }

  command(name) {
    if (["frac", "dfrac", "tfrac"].includes(name)) return ml("mfrac", {}, this.argument(), this.argument());
    if (name === "binom") return ml("mrow", {}, ml("mo", {}, "("), ml("mfrac", { linethickness: "0" }, this.argument(), this.argument()), ml("mo", {}, ")"));
    if (name === "sqrt") {
      if (this.tokens[this.at] !== "[") return ml("msqrt", {}, this.argument());
      this.at += 1;
      const index = this.row("]");
      return ml("mroot", {}, this.argument(), index);
    }
    if (["boxed", "fbox"].includes(name)) return ml("mrow", { class: "boxed" }, this.argument());
    if (["overline", "bar", "hat", "vec"].includes(name)) return ml("mover", {}, this.argument(), ml("mo", {}, { hat: "^", vec: "→" }[name] ?? "¯"));
    if (TEXTS.has(name)) return ml("mtext", {}, shown(this.raw()));
    if (["begin", "end"].includes(name)) { this.raw(); return null; }
    if (["left", "right", "big", "Big", "bigg", "Bigg"].includes(name)) {
      const next = this.tokens[this.at];
      if (next === ".") { this.at += 1; return null; }
      return next === undefined ? null : this.atom();
    }
    if (["displaystyle", "textstyle", "limits", "nolimits"].includes(name)) return null;
    if (name === "\\") return ml("mspace", { linebreak: "newline", width: "1em" });
    if (name in SPACES) return ml("mspace", { width: SPACES[name] });
    if (FUNCTIONS.has(name)) return ml("mi", {}, name);
    if (Object.hasOwn(SYMBOLS, name)) return ml(/\p{L}/u.test(SYMBOLS[name]) ? "mi" : "mo", {}, SYMBOLS[name]);
    return ml("mtext", {}, shown(`\\${name}`));
  }
}
