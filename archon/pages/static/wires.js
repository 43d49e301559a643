// Lines between elements of a box, drawn behind them.

function wires(box, links, { vertical = false } = {}) {
  box.querySelector(":scope > svg.wires")?.remove();
  const frame = box.getBoundingClientRect();
  const place = (element) => {
    const { left, top, width, height } = element.getBoundingClientRect();
    return { left: left - frame.left + box.scrollLeft, top: top - frame.top + box.scrollTop, width, height };
  };
  const places = new Map();
  const at = (element) => {
    if (!places.has(element)) places.set(element, place(element));
    return places.get(element);
  };
  const paths = links.map(({ from, to, kind = "", skips = false }) => {
    const path = svg("path", { class: `wire ${kind}`, d: bend(at(from), at(to), vertical, skips) });
    return path;
  });
  const drawing = svg("svg", { class: "wires", width: box.scrollWidth, height: box.scrollHeight, "aria-hidden": "true" }, paths);
  box.prepend(drawing);
  return paths;
}

function bend(a, b, vertical, skips) {
  if (skips && vertical) {
    const x1 = a.left + a.width, y1 = a.top + a.height / 2, x2 = b.left + b.width, y2 = b.top + b.height / 2;
    const out = Math.max(x1, x2) + 22;
    return `M${x1},${y1} C${out},${y1} ${out},${y2} ${x2},${y2}`;
  }
  if (skips) {
    const x1 = a.left + a.width * 0.75, x2 = b.left + b.width * 0.25;
    const up = Math.min(a.top, b.top) - 34;
    return `M${x1},${a.top} C${x1 + 20},${up} ${x2 - 20},${up} ${x2},${b.top}`;
  }
  if (vertical) {
    const x1 = a.left + a.width / 2, y1 = a.top + a.height, x2 = b.left + b.width / 2, y2 = b.top;
    const half = (y1 + y2) / 2;
    return `M${x1},${y1} C${x1},${half} ${x2},${half} ${x2},${y2}`;
  }
  const x1 = a.left + a.width, y1 = a.top + a.height / 2, x2 = b.left, y2 = b.top + b.height / 2;
  const reach = Math.min(60, (x2 - x1) / 2);
  return `M${x1},${y1} C${x1 + reach},${y1} ${x2 - reach},${y2} ${x2},${y2}`;
}
