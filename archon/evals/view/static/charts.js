// Pictures of numbers: error bars, fronts, curves. Each is drawn for the width that it has.

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

const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });
const label = (x, y, text, kind = "", anchor = "start") =>
  svg("text", { x, y, class: `label ${kind}`, "text-anchor": anchor }, text);

// A share with its 95 % interval on a line from 0 to 100 %.
function shareBar(width, share, bounds, { height = 44, axis = true } = {}) {
  const x = scale([0, 1], [8, width - 8]);
  const middle = axis ? height / 2 - 8 : height / 2;
  const told = `${percent(share)}, 95 % interval ${interval(bounds)} %`;
  return svg("svg", { class: "chart", width, height, role: "img", "aria-label": told },
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

// A difference with its interval around zero; `reach` is the largest that the line shows.
function differenceBar(width, difference, bounds, reach) {
  const x = scale([-reach, reach], [8, width - 8]);
  const clear = bounds[0] > 0 || bounds[1] < 0;
  const told = `${points(difference)} points, 95 % interval ${interval(bounds, points)}`;
  return svg("svg", { class: `chart ${clear ? "clear" : ""}`, width, height: 26, role: "img", "aria-label": told },
    line(x(-reach), 13, x(reach), 13, "track"),
    line(x(0), 3, x(0), 23, "zero"),
    errorBar(x(bounds[0]), x(bounds[1]), 13),
    svg("circle", { cx: x(difference), cy: 13, r: 5, class: "point" }));
}

function frame(width, height, margin, x, y, xTicks, yTicks, xName, yName, format) {
  const bottom = height - margin.bottom;
  return [
    yTicks.map((tick) => [
      line(margin.left, y(tick), width - margin.right, y(tick), "grid"),
      label(margin.left - 8, y(tick) + 4, `${Math.round(100 * tick)}`, "small", "end"),
    ]),
    xTicks.map((tick) => label(x(tick), bottom + 18, format(tick), "small", x(tick) > width - 44 ? "end" : "middle")),
    label(width - margin.right, height - 4, xName, "small", "end"),
    label(margin.left - 8, 12, yName, "small", "start"),
  ];
}

// Accuracy against a cost, with error bars, and the line of those that nothing beats in both.
function frontChart(width, rows, xName, format) {
  const height = Math.max(240, Math.min(340, width * 0.62));
  const margin = { left: 40, right: 20, top: 28, bottom: 44 };
  const across = spread(rows.map((row) => row.x), [margin.left, width - margin.right], width < 420 ? 3 : 5);
  const low = Math.max(0, Math.min(...rows.map((row) => row.bounds?.[0] ?? row.y)) - 0.03);
  const high = Math.min(1, Math.max(...rows.map((row) => row.bounds?.[1] ?? row.y)) + 0.03);
  const { x } = across;
  const y = scale([low, high], [height - margin.bottom, margin.top]);
  const front = rows.filter((row) => row.front).sort((a, b) => a.x - b.x);
  const steps = front.map((row, place) => (place ? `H${x(row.x)}V${y(row.y)}` : `M${x(row.x)},${y(row.y)}`)).join("");
  const told = `${yAxisName} against ${xName}; on the front: ${front.map((row) => shown(row.name)).join(", ")}`;
  return svg("svg", { class: "chart", width, height, role: "img", "aria-label": told },
    frame(width, height, margin, x, y, across.marks, ticks(low, high, 5), xName, `${yAxisName}, %`, format),
    svg("path", { d: steps, class: "front" }),
    rows.map((row) => svg("g", { class: row.front ? "on-front" : "off-front" },
      row.bounds && [
        line(x(row.x), y(row.bounds[0]), x(row.x), y(row.bounds[1]), "error"),
        line(x(row.x) - 4, y(row.bounds[0]), x(row.x) + 4, y(row.bounds[0]), "error"),
        line(x(row.x) - 4, y(row.bounds[1]), x(row.x) + 4, y(row.bounds[1]), "error"),
      ],
      svg("circle", { cx: x(row.x), cy: y(row.y), r: 5.5, class: "point" }))),
    namesOf(rows, x, y, width));
}

// The axis of a cost: logarithmic where the dearest is many times the cheapest.
function spread(values, range, wanted) {
  const most = Math.max(...values), least = Math.min(...values);
  if (least <= 0 || most / least < 12) {
    const linear = scale([0, most * 1.12 || 1], range);
    return { x: linear, marks: ticks(0, most * 1.12 || 1, wanted) };
  }
  const low = Math.log10(least / 1.6), high = Math.log10(most * 1.6);
  const log = scale([low, high], range);
  const factors = high - low < 2 ? [1, 2, 5] : high - low < 6 ? [1] : [100];
  const marks = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const factor of factors) marks.push(factor * 10 ** power);
  }
  return { x: (value) => log(Math.log10(value)), marks: marks.filter((mark) => Math.log10(mark) >= low && Math.log10(mark) <= high) };
}

// Names beside their points, each at the first place where it hides no other.
function namesOf(rows, x, y, width) {
  const taken = rows.map((row) => ({ left: x(row.x) - 7, right: x(row.x) + 7, top: y(row.y) - 7, bottom: y(row.y) + 7 }));
  return [...rows].sort((a, b) => Number(b.front) - Number(a.front)).map((row) => {
    const name = clip(shown(row.name), width < 420 ? 18 : 26);
    const long = name.length * 7.4;
    const spots = [-8, 18, -24, 34, -40, 50, -56, 66].flatMap((down) => [[10, down], [-10 - long, down]]);
    const box = ([right, down]) => ({ left: x(row.x) + right, right: x(row.x) + right + long, top: y(row.y) + down - 13, bottom: y(row.y) + down + 3 });
    const free = (one) => one.left > 30 && one.top > 20 && one.right < width && !taken.some((other) =>
      one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom);
    const spot = spots.find((one) => free(box(one))) ?? spots[0];
    taken.push(box(spot));
    return label(x(row.x) + spot[0], y(row.y) + spot[1], name, row.front ? "name" : "name faint");
  });
}

const yAxisName = "accuracy";

// pass@k and vote@k of one node's texts, with their intervals as bands.
function curveChart(width, points) {
  const height = 220;
  const margin = { left: 34, right: 64, top: 26, bottom: 40 };
  const last = points.at(-1).k;
  const x = scale([0, Math.log2(last) || 1], [margin.left, width - margin.right]);
  const y = scale([0, 1], [height - margin.bottom, margin.top]);
  const at = (k) => x(Math.log2(k));
  const kinds = ["pass", "vote"].filter((kind) => points.some((point) => typeof point[kind] === "number"));
  // Names at the ends of the lines, pass above vote, never on top of each other.
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
  const told = kinds.map((kind) => `${kind}@${last} ${percent(points.at(-1)[kind])}`).join(", ");
  return svg("svg", { class: "chart", width, height, role: "img", "aria-label": told },
    frame(width, height, margin, at, y, marks, [0, 0.25, 0.5, 0.75, 1], "k drafts", "%", String), drawn);
}
