// A model's text as elements: Markdown and maths. Markup in the text stays text.

const INLINE = /(`+)([\s\S]*?[^`])\1(?!`)|\\\(([\s\S]+?)\\\)|\$\$([^$]+?)\$\$|\$(?=[^\s$\d]|\d[^$\n]*[\\^_=+*/<>-][^$\n]*\$)([^$\n]*?[^\s$\\])\$(?!\d)|\*\*(?=\S)([\s\S]+?)\*\*|(?<![\w*])\*(?=[^\s*])([^*\n]+?)\*(?![\w*])|(?<!\w)_(?=[^\s_])([^_\n]+?)_(?!\w)|~~(?=\S)(.+?)~~|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)|\\([\\`*_{}[\]()#+\-.!$|<>~])/g;
const MAX_INLINE = 20000;

function inline(text, depth = 0) {
  if (depth > 6 || text.length > MAX_INLINE) return [shown(text)];
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(shown(text.slice(end, match.index)));
    end = match.index + match[0].length;
    const [, , code, round, double, dollar, strong, star, underscore, struck, label, address, escaped] = match;
    const within = (tag, inner) => el(tag, {}, inline(inner, depth + 1));
    if (code !== undefined) parts.push(el("code", {}, shown(code)));
    else if ((round ?? double ?? dollar) !== undefined) parts.push(maths(round ?? double ?? dollar));
    else if (strong !== undefined) parts.push(within("strong", strong));
    else if ((star ?? underscore) !== undefined) parts.push(within("em", star ?? underscore));
    else if (struck !== undefined) parts.push(within("s", struck));
    else if (label !== undefined) parts.push(el("a", { href: address, rel: "noopener noreferrer", target: "_blank", title: shown(address) }, inline(label, depth + 1)));
    else parts.push(shown(escaped));
  }
  parts.push(shown(text.slice(end)));
  return parts.filter((part) => part !== "");
}

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const FENCE = /^\s{0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^\s{0,3}([-*_])(\s*\1){2,}\s*$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const MATHS_START = /^\s*(\\\[|\$\$)/;

function markdown(text) {
  return el("div", { class: "markdown", dir: "auto" }, blocks(text.split("\n"), 0));
}

function blocks(lines, depth) {
  const made = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const fence = FENCE.exec(line);
    const start = MATHS_START.exec(line);
    if (!line.trim()) at += 1;
    else if (fence) {
      const end = lines.findIndex((other, index) => index > at && other.trim().startsWith(fence[1]));
      const stop = end < 0 ? lines.length : end;
      made.push(codeBlock(lines.slice(at + 1, stop).join("\n"), fence[2]));
      at = stop + 1;
    } else if (start) {
      const closing = start[1] === "$$" ? "$$" : "\\]";
      const rest = lines.slice(at).join("\n").trimStart().slice(2);
      const end = rest.indexOf(closing);
      const after = end < 0 ? "" : rest.slice(end + 2);
      made.push(el("div", { class: "maths scroll", tabindex: "0", role: "group", "aria-label": "Formula" }, maths(end < 0 ? rest : rest.slice(0, end), true)));
      lines = [...lines.slice(0, at), ...after.split("\n")];
    } else if (HEADING.test(line)) {
      const [, level, title] = HEADING.exec(line);
      made.push(el(`h${Math.min(6, level.length + 2)}`, {}, inline(title)));
      at += 1;
    } else if (RULE.test(line)) {
      made.push(el("hr"));
      at += 1;
    } else if (/^\s{0,3}>/.test(line) && depth < 8) {
      const quoted = [];
      while (at < lines.length && /^\s{0,3}>/.test(lines[at])) quoted.push(lines[at++].replace(/^\s{0,3}>\s?/, ""));
      made.push(el("blockquote", {}, blocks(quoted, depth + 1)));
    } else if (line.includes("|") && TABLE_RULE.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) {
      const rows = [cells(line)];
      at += 2;
      while (at < lines.length && lines[at].includes("|")) rows.push(cells(lines[at++]));
      made.push(table(rows));
    } else if (ITEM.test(line) && depth < 8) {
      const [list, next] = listOf(lines, at, depth);
      made.push(list);
      at = next;
    } else {
      const words = [];
      while (at < lines.length && lines[at].trim() && (!words.length || !startsBlock(lines[at]))) words.push(lines[at++]);
      made.push(el("p", {}, words.flatMap((one, index) => [index ? el("br") : null, inline(one.trim())])));
    }
  }
  return made;
}

function startsBlock(line) {
  return [ITEM, FENCE, HEADING, RULE, MATHS_START, /^\s{0,3}>/].some((pattern) => pattern.test(line));
}

function listOf(lines, start, depth) {
  const [, indent, first] = ITEM.exec(lines[start]);
  const isNumbered = /\d/.test(first);
  const items = [];
  let at = start;
  while (at < lines.length) {
    const match = ITEM.exec(lines[at]);
    const own = match && match[1].length <= indent.length + 1;
    if (own && /\d/.test(match[2]) !== isNumbered) break;
    if (own) items.push([match[3]]);
    else if (!lines[at].trim() ? /^\s{2,}\S/.test(lines[at + 1] ?? "") || ITEM.test(lines[at + 1] ?? "") : /^\s/.test(lines[at])) items.at(-1).push(lines[at].replace(/^(\t| {1,4})/, ""));
    else break;
    at += 1;
  }
  const begin = isNumbered ? Number.parseInt(first, 10) : 1;
  return [el(isNumbered ? "ol" : "ul", { start: isNumbered && begin !== 1 ? begin : null }, items.map((item) => el("li", {},
    item.length === 1 ? inline(item[0]) : blocks(item, depth + 1)))), at];
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

function table([head, ...rows]) {
  return el("div", { class: "scroll" }, el("table", { class: "small-table" },
    el("thead", {}, el("tr", {}, head.map((cell) => el("th", { scope: "col" }, inline(cell))))),
    el("tbody", {}, rows.map((row) => el("tr", {}, head.map((_, index) => el("td", {}, inline(row[index] ?? ""))))))));
}

function codeBlock(text, language) {
  const copy = el("button", { type: "button", class: "plain copy", onclick: () => copyText(text, copy) }, "Copy");
  return el("div", { class: "code" }, el("div", { class: "code-head" }, el("span", {}, shown(language)), copy), el("pre", { tabindex: "0" }, el("code", {}, shown(text))));
}

async function copyText(text, button) {
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  button.textContent = done ? "Copied" : "Cannot copy";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}
