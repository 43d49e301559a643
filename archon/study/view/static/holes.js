// What the holes of the space matter, and how trials did at each of their values.

function importanceCard(entry) {
  const shares = Object.entries(entry.shares);
  return el("div", { class: "card" },
    el("h3", {}, `What ${entry.objective} hangs on`),
    entry.why_not
      ? el("p", { class: "faint" }, `Not told: ${entry.why_not}.`)
      : [
        el("dl", { class: "shares" }, shares.map(([name, share]) => shareRow(name, share, shares[0][1]))),
        el("p", { class: "faint small" }, `How much each hole decides whether a trial is among the best ${count(entry.num_best)} of ${count(entry.num_trials)}, in shares of 100 %.`),
      ]);
}

function shareRow(name, share, most) {
  const bar = el("span", { class: "share-bar" });
  bar.style.width = `${most ? (100 * share) / most : 0}%`;
  return el("div", {}, el("dt", {}, words(name)), el("dd", {}, el("span", { class: "share-track" }, bar), el("span", { class: "share-told" }, percent(share, 0))));
}

// The places of a hole's values on the axis: those of a choice beside each other, numbers to scale.
function across(hole, range) {
  if (hole.kind !== "choice") {
    const log = hole.is_log ? Math.log10 : (value) => value;
    const x = scale([log(hole.low), log(hole.high)], [range[0] + 10, range[1] - 10]);
    const marks = hole.is_log ? [hole.low, hole.high] : ticks(hole.low, hole.high, 4).filter((tick) => hole.kind === "float" || Number.isInteger(tick));
    return { x: (value) => x(log(value)), marks, told: (value) => String(Number(value.toPrecision(4))), step: 0 };
  }
  const step = (range[1] - range[0]) / hole.values.length;
  return { x: (value) => range[0] + step * (hole.values.indexOf(String(value)) + 0.5), marks: hole.values, told: choice, step };
}

function slicePicture(hole, name) {
  const trials = ASKED.filter((trial) => hole.name in trial.point);
  const missing = ASKED.length - trials.length;
  return el("figure", { class: "picture card slice" },
    el("figcaption", {}, words(hole.name), missing > 0 && el("span", { class: "faint" }, `, in ${count(trials.length)} of ${count(ASKED.length)} trials`)),
    responsive(el("div", { class: "canvas" }), (width) => sliceChart(width, hole, name, trials)));
}

function sliceChart(width, hole, name, trials) {
  const height = 210;
  const margin = { left: 48, right: 10, top: 26, bottom: 30 };
  const range = reach(ASKED.map((trial) => trial.sought[name]), name === "accuracy");
  const y = scale(range, [height - margin.bottom, margin.top]);
  const { x, marks, told, step } = across(hole, [margin.left, width - margin.right]);
  const room = Math.max(3, Math.floor(step / 7.5) - 1);
  const at = (value) => trials.filter((trial) => String(trial.point[hole.name]) === value).map((trial) => trial.sought[name]);
  const means = hole.kind !== "choice" ? [] : hole.values.map((value) => [value, at(value)]).filter(([, values]) => values.length)
    .map(([value, values]) => [value, values.reduce((sum, one) => sum + one, 0) / values.length]);
  const spoken = means.map(([value, mean]) => `${choice(value)}: mean ${OBJECTIVES[name].told(mean)} of ${at(value).length}`).join("; ");
  return svg("svg", { class: "chart", width, height, role: "img", "aria-label": `${name} at each ${shown(hole.name)}; ${shown(spoken)}` },
    axes(width, height, margin, {
      y, yTicks: ticks(...range, 3), yTick: OBJECTIVES[name].tick, yName: OBJECTIVES[name].axis,
      x, xTicks: [], xTick: String, xName: null,
    }),
    marks.map((mark) => svg("g", {}, svg("title", {}, shown(told(mark))), label(x(mark), height - margin.bottom + 18, clip(shown(told(mark)), room), "small", "middle"))),
    means.map(([value, mean]) => line(x(value) - Math.min(18, step / 3), y(mean), x(value) + Math.min(18, step / 3), y(mean), "mean")),
    trials.map((trial) => trialPoint(trial, x(trial.point[hole.name]) + shift(trial.number, step), y(trial.sought[name]))));
}

// Trials of one value stand a little apart, each always in the same place.
function shift(number, step) {
  return (((number * 0.618034) % 1) - 0.5) * Math.min(24, step / 2);
}

function slices() {
  const box = el("div", { class: "pictures slices" });
  const draw = (name) => box.replaceChildren(...DATA.holes.map((hole) => slicePicture(hole, name)));
  draw(DATA.objectives[0][0]);
  const tabs = DATA.objectives.map(([name], place) => el("button", {
    class: "tab",
    "aria-pressed": String(place === 0),
    onclick: (event) => {
      for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab === event.currentTarget));
      draw(name);
    },
  }, name));
  return [tabs.length > 1 && el("div", { class: "tabs", role: "group", "aria-label": "Objective" }, tabs), box];
}

function drawHoles() {
  if (!ASKED.length) return null;
  return [
    section("importance", "What matters",
      el("p", { class: "faint small" }, "By conditional PED-ANOVA, which takes holes that exist in some trials only. It tells of the trials that were made, not of all points: what the search seldom tried it cannot judge."),
      el("div", { class: "pictures" }, DATA.importance.map(importanceCard))),
    section("slices", "At each value of a hole",
      el("p", { class: "faint small" }, "Each point is a trial; a bar is the mean of those at a value, which leaves open what else they had in common. Stopped trials are shown at what they would have come to."),
      slices()),
  ];
}
