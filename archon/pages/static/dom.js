// Only this file makes elements: texts become text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

function el(tag, options, ...children) {
  return fill(document.createElement(tag), options, children);
}

function svg(tag, options, ...children) {
  return fill(document.createElementNS(SVG, tag), options, children);
}

function fill(element, options, children) {
  for (const [name, value] of Object.entries(options ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

// A text in which characters that are invisible or change the direction are made visible.
function shown(text) {
  return String(text).replace(/\r\n/g, "\n").replace(HIDDEN, (char) => {
    const code = char.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
  });
}

// Text of a model or a data set on one line, isolated from the direction of its surroundings.
function words(text, options) {
  return el("bdi", options, shown(text));
}

// The beginning of a text of any length.
function brief(text, options, length = 80) {
  return words(clip(String(text), length), options);
}

function clip(text, length) {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

const FOLD_CHARS = 1600;

// A model's text as written, folded if it is long.
function prose(text, options = {}) {
  const fold = options.fold ?? FOLD_CHARS;
  const body = el("div", { class: `prose ${options.class ?? ""}`, dir: "auto" });
  if (text === "") {
    body.append(el("span", { class: "faint" }, "(empty)"));
    return body;
  }
  if (text.length <= fold * 1.25) {
    body.append(shown(text));
    return body;
  }
  const begin = document.createTextNode(shown(text.slice(0, fold)) + "…");
  const box = el("div", {}, body);
  const button = el("button", {
    class: "plain more",
    "aria-expanded": "false",
    onclick: () => {
      const open = button.getAttribute("aria-expanded") === "false";
      begin.data = open ? shown(text) : shown(text.slice(0, fold)) + "…";
      button.setAttribute("aria-expanded", String(open));
      button.textContent = open ? "Show less" : all;
    },
  });
  const all = `Show all (${count(text.length)} characters)`;
  button.textContent = all;
  body.append(begin);
  box.append(button);
  return box;
}

function section(name, title, ...children) {
  return el("section", { class: "section", "aria-labelledby": `${name}-title` },
    el("h2", { id: `${name}-title` }, title), children);
}

function facts(entries) {
  return el("dl", { class: "facts" }, entries.map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, String(value).length > 300 ? prose(String(value), { fold: 300 }) : words(value)))));
}

function figure(value, name, detail) {
  return el("div", { class: "figure" },
    el("div", { class: "figure-value" }, value),
    el("div", { class: "figure-name" }, name),
    detail && el("div", { class: "figure-detail" }, detail));
}

// Redraw the content of `box` whenever its width changes.
function responsive(box, draw) {
  let width = -1;
  const redraw = () => {
    if (!box.clientWidth || box.clientWidth === width) return;
    width = box.clientWidth;
    box.replaceChildren(draw(width));
  };
  new ResizeObserver(redraw).observe(box);
  return box;
}

function announce(text) {
  document.getElementById("announcer").textContent = text;
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
