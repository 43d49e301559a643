// Charts: error bars, fronts, curves. Each is drawn for the available width.

function scale([low, high], [from, to]) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

function ticks(low, high, wanted) {
  const raw = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) found.push(value + 0);
  return found;
}

// Marks whose labels do not overlap. Marks of low `rank` are placed first, then those further left.
function spaced(marks, x, format, width, rank = () => 0) {
  const kept = [];
  for (const mark of [...marks].sort((a, b) => rank(a) - rank(b) || a - b)) {
    const span = markSpan(x(mark), format(mark), width);
    if (kept.every((other) => span.right + 6 < other.span.left || other.span.right + 6 < span.left)) kept.push({ mark, span });
  }
  return kept.map(({ mark }) => mark).sort((a, b) => a - b);
}

const LABEL_WIDTH = 7.4, MARK_WIDTH = 6.8;
const markAnchor = (at, width) => (at > width - 44 ? "end" : "middle");

function markSpan(at, text, width) {
  const long = text.length * MARK_WIDTH;
  const left = markAnchor(at, width) === "end" ? at - long : at - long / 2;
  return { left, right: left + long };
}

// A format for ticks of a share, in percent, with enough digits to distinguish neighbours.
function shareTick(marks) {
  const step = Math.min(...marks.slice(1).map((mark, index) => mark - marks[index]), 1);
  return (mark) => decimal(mark, step < 0.0095 ? (step < 0.00095 ? 2 : 1) : 0, 2);
}

const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });
const label = (x, y, text, kind = "", anchor = "start") =>
  svg("text", { x, y, class: `label ${kind}`, "text-anchor": anchor }, text);

// A share with its 95% interval on a line from 0 to 100%.
function shareBar(width, share, bounds, { height = 44, axis = true } = {}) {
  const x = scale([0, 1], [8, width - 8]);
  const middle = axis ? height / 2 - 8 : height / 2;
  const description = `${percent(share)}, 95% interval ${interval(bounds)}%`;
  return svg("svg", { class: "chart", width, height, role: "img", "aria-label": description },
    line(x(0), middle, x(1), middle, "track"),
    axis && [0, 0.25, 0.5, 0.75, 1].map((tick) => [
      line(x(tick), middle + 8, x(tick), middle + 12, "tick"),
      label(x(tick), height - 2, `${100 * tick}`, "small", tick === 0 ? "start" : tick === 1 ? "end" : "middle"),
    ]),
    bounds && errorBar(x(bounds[0]), x(bounds[1]), middle),
    share !== null && svg("circle", { cx: x(share), cy: middle, r: 5.5, class: "point" }));
}

function errorBar(x1, x2, y) {
  return [
    svg("line", { x1, y1: y, x2, y2: y, class: "error wide" }),
    line(x1, y - 5, x1, y + 5, "error"),
    line(x2, y - 5, x2, y + 5, "error"),
  ];
}

// A difference with its interval around zero; the line extends from -`reach` to `reach`.
function differenceBar(width, difference, bounds, reach) {
  const x = scale([-reach, reach], [8, width - 8]);
  const clear = bounds[0] > 0 || bounds[1] < 0;
  const description = `${points(difference)} points, 95% interval ${interval(bounds, points)}`;
  return svg("svg", { class: `chart ${clear ? "clear" : ""}`, width, height: 26, role: "img", "aria-label": description },
    line(x(-reach), 13, x(reach), 13, "track"),
    line(x(0), 3, x(0), 23, "zero"),
    errorBar(x(bounds[0]), x(bounds[1]), 13),
    svg("circle", { cx: x(difference), cy: 13, r: 5, class: "point" }));
}

function frame(width, height, margin, x, y, xTicks, yTicks, xName, yName, format, rank) {
  const bottom = height - margin.bottom;
  const yFormat = shareTick(yTicks);
  return [
    yTicks.map((tick) => [
      line(margin.left, y(tick), width - margin.right, y(tick), "grid"),
      label(margin.left - 8, y(tick) + 4, yFormat(tick), "small", "end"),
    ]),
    spaced(xTicks, x, format, width, rank).map((tick) => label(x(tick), bottom + 18, format(tick), "small", markAnchor(x(tick), width))),
    label(width - margin.right, height - 4, xName, "small", "end"),
    label(margin.left - 8, 12, yName, "small", "start"),
  ];
}

// Accuracy against a cost, with error bars and the Pareto front.
function frontChart(width, rows, xName, format) {
  const height = Math.max(240, Math.min(340, width * 0.62));
  const margin = { left: 40, right: 20, top: 28, bottom: 44 };
  const across = spread(rows.map((row) => row.x), [margin.left, width - margin.right], width < 420 ? 3 : 5);
  const low = Math.max(0, Math.min(...rows.map((row) => row.bounds?.[0] ?? row.y)) - 0.03);
  const high = Math.min(1, Math.max(...rows.map((row) => row.bounds?.[1] ?? row.y)) + 0.03);
  const { x } = across;
  const y = scale([low, high], [height - margin.bottom, margin.top]);
  const front = rows.filter((row) => row.front).sort((a, b) => a.x - b.x);
  const steps = front.map((row, index) => (index ? `H${x(row.x)}V${y(row.y)}` : `M${x(row.x)},${y(row.y)}`)).join("");
  const description = `${yAxisName} against ${xName}; on the front: ${front.map((row) => shown(row.name)).join(", ")}`;
  const { labels, key } = namesOf(rows, x, y, width, height - margin.bottom);
  return el("div", {}, svg("svg", { class: "chart", width, height, role: "img", "aria-label": description },
    frame(width, height, margin, x, y, across.marks, ticks(low, high, 5), xName, `${yAxisName}, %`, format, across.rank),
    svg("path", { d: steps, class: "front" }),
    rows.map((row) => svg("g", { class: row.front ? "on-front" : "off-front" },
      row.bounds && [
        line(x(row.x), y(row.bounds[0]), x(row.x), y(row.bounds[1]), "error"),
        line(x(row.x) - 4, y(row.bounds[0]), x(row.x) + 4, y(row.bounds[0]), "error"),
        line(x(row.x) - 4, y(row.bounds[1]), x(row.x) + 4, y(row.bounds[1]), "error"),
      ],
      svg("circle", { cx: x(row.x), cy: y(row.y), r: 5.5, class: "point" }))),
    labels), nameKey(key));
}

// The axis of a cost: logarithmic if the highest is many times the lowest.
function spread(values, range, wanted) {
  const most = Math.max(...values), least = Math.min(...values);
  if (least <= 0 || most / least < 12) {
    const linear = scale([0, most * 1.12 || 1], range);
    return { rank: undefined, x: linear, marks: ticks(0, most * 1.12 || 1, wanted) };
  }
  const low = Math.log10(least / 1.6), high = Math.log10(most * 1.6);
  const log = scale([low, high], range);
  const factors = high - low < 2 ? [1, 2, 5] : high - low < 6 ? [1] : [100];
  const marks = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const factor of factors) marks.push(factor * 10 ** power);
  }
  // Powers of ten before the marks between them.
  const rank = (mark) => { const first = String(mark.toExponential()).split("e")[0]; return ["1", "5", "2"].indexOf(first); };
  return { rank, x: (value) => log(Math.log10(value)), marks: marks.filter((mark) => Math.log10(mark) >= low && Math.log10(mark) <= high) };
}

// Names next to their points, where they hide no point, no error bar and no other name. If a name
// fits nowhere, the number of its row replaces it, if it has one, and `key` lists the name.
function namesOf(rows, x, y, width, bottom = Infinity) {
  const taken = rows.map((row) => ({ left: x(row.x) - 7, right: x(row.x) + 7, top: y(row.y) - 7, bottom: y(row.y) + 7 }));
  for (const row of rows) {
    // A name at the end of another row's bar would seem to belong to that row.
    if (row.bounds) taken.push({ of: row, left: x(row.x) - 6, right: x(row.x) + 6, top: y(row.bounds[1]) - 20, bottom: y(row.bounds[0]) + 20 });
  }
  const place = (row, text, anyhow) => {
    const own = { x: x(row.x), y: y(row.y) };
    const long = text.length * LABEL_WIDTH;
    const ends = row.bounds ? [y(row.bounds[1]) - 6, y(row.bounds[0]) + 16].map((to) => [-long / 2, to - own.y]) : [];
    const nextTo = [-8, 18, -24, 34, -40, 50, -56, 66, -72, 82].flatMap((down) => [[10, down], [-10 - long, down]]);
    const box = ([right, down]) => ({ left: own.x + right, right: own.x + right + long, top: own.y + down - 13, bottom: own.y + down + 3 });
    const fits = (one) => one.left > 30 && one.top > 20 && one.right < width && one.bottom < bottom;
    const spots = [...nextTo, ...ends].filter((spot) => fits(box(spot)));
    const ownBar = row.bounds && { left: own.x - 6, right: own.x + 6, top: y(row.bounds[1]) - 2, bottom: y(row.bounds[0]) + 2 };
    const others = [...taken.filter((one) => one.of !== row), ...(ownBar ? [ownBar] : [])];
    const hidden = (spot) => others.reduce((sum, other) => sum + overlap(box(spot), other), 0);
    const spot = spots.find((one) => !hidden(one)) ?? (anyhow ? least(spots, hidden) ?? nextTo[0] : null);
    if (!spot) return null;
    taken.push(box(spot));
    return label(own.x + spot[0], own.y + spot[1], text, row.front ? "name" : "name faint");
  };
  const first = [...rows].sort((a, b) => Number(b.front) - Number(a.front));
  const placed = first.map((row) => [row, place(row, clip(shown(row.name), width < 420 ? 18 : 26), row.number === undefined)]);
  const key = placed.filter(([, text]) => !text).map(([row]) => row).sort((a, b) => a.number - b.number);
  const labels = [...placed.map(([, text]) => text), ...key.map((row) => place(row, String(row.number), true))];
  return { labels: labels.filter(Boolean), key };
}

// The names of points that only have their numbers in the chart.
function nameKey(rows) {
  return rows.length > 0 && el("ol", { class: "name-key" }, rows.map((row) =>
    el("li", {}, el("b", {}, String(row.number)), " ", words(row.name))));
}

function overlap(a, b) {
  const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return across > 0 && down > 0 ? across * down : 0;
}

function least(list, value) {
  let best, found = Infinity;
  for (const one of list) {
    if (value(one) < found) [best, found] = [one, value(one)];
  }
  return best;
}

const yAxisName = "accuracy";

// pass@k and vote@k of one node's samples, with their intervals as bands.
function curveChart(width, points) {
  const height = 220;
  const margin = { left: 34, right: 64, top: 26, bottom: 40 };
  const last = points.at(-1).k;
  const x = scale([0, Math.log2(last) || 1], [margin.left, width - margin.right]);
  const y = scale([0, 1], [height - margin.bottom, margin.top]);
  const at = (k) => x(Math.log2(k));
  const kinds = ["pass", "vote"].filter((kind) => points.some((point) => typeof point[kind] === "number"));
  // Names at the ends of the lines, pass above vote, without overlap.
  const ends = kinds.map((kind) => y(points.findLast((point) => typeof point[kind] === "number")[kind]));
  const crowded = ends.length > 1 ? Math.max(0, 14 - Math.abs(ends[1] - ends[0])) / 2 : 0;
  const nudge = { pass: -crowded, vote: crowded };
  const drawn = kinds.map((kind) => {
    const known = points.filter((point) => typeof point[kind] === "number");
    const banded = known.filter((point) => point[`${kind}_interval`]);
    const upper = banded.map((point) => `${at(point.k)},${y(point[`${kind}_interval`][1])}`);
    const lower = banded.map((point) => `${at(point.k)},${y(point[`${kind}_interval`][0])}`).reverse();
    const end = known.at(-1);
    return svg("g", { class: `curve ${kind}` },
      upper.length > 1 && svg("polygon", { points: [...upper, ...lower].join(" "), class: "band" }),
      svg("polyline", { points: known.map((point) => `${at(point.k)},${y(point[kind])}`).join(" "), class: "curve-line" }),
      known.map((point) => svg("circle", { cx: at(point.k), cy: y(point[kind]), r: 3, class: "curve-point" })),
      label(at(end.k) + 8, y(end[kind]) + 4 + nudge[kind], `${kind}@${end.k}`, "name"));
  });
  const marks = points.map((point) => point.k).filter((k) => Number.isInteger(Math.log2(k)) || k === last);
  const description = kinds.map((kind) => `${kind}@${last} ${percent(points.at(-1)[kind])}`).join(", ");
  return svg("svg", { class: "chart", width, height, role: "img", "aria-label": description },
    frame(width, height, margin, at, y, marks, [0, 0.25, 0.5, 0.75, 1], "k samples", "%", String), drawn);
}
