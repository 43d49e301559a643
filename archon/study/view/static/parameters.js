// The importance of the parameters of the space, and the trials at each of their values.

function importanceCard(entry) {
  const shares = Object.entries(entry.shares);
  return el("div", { class: "card" },
    el("h3", {}, `Importance for ${entry.objective}`),
    entry.why_not
      ? el("p", { class: "faint" }, `Not estimated: ${entry.why_not}.`)
      : [
        el("dl", { class: "shares" }, shares.map(([name, share]) => shareRow(name, share, shares[0][1]))),
        el("p", { class: "faint small" }, `How much each parameter decides whether a trial is among the best ${count(entry.num_best)} of ${count(entry.num_trials)}. The shares add up to 100%.`),
      ]);
}

function shareRow(name, share, most) {
  const bar = el("span", { class: "share-bar" });
  bar.style.width = `${most ? (100 * share) / most : 0}%`;
  return el("div", {}, el("dt", {}, words(name)), el("dd", {}, el("span", { class: "share-track" }, bar), el("span", { class: "share-text" }, percent(share, 0))));
}

// Positions of a parameter's values on the axis: choices at equal distances, numbers to scale.
function across(parameter, range) {
  if (parameter.kind !== "choice") {
    const log = parameter.is_log ? Math.log10 : (value) => value;
    const x = scale([log(parameter.low), log(parameter.high)], [range[0] + 10, range[1] - 10]);
    const marks = parameter.is_log ? [parameter.low, parameter.high] : ticks(parameter.low, parameter.high, 4).filter((tick) => parameter.kind === "float" || Number.isInteger(tick));
    return { x: (value) => x(log(value)), marks, text: (value) => String(Number(value.toPrecision(4))), step: 0 };
  }
  const step = (range[1] - range[0]) / parameter.values.length;
  return { x: (value) => range[0] + step * (parameter.values.indexOf(String(value)) + 0.5), marks: parameter.values, text: choice, step };
}

function slicePicture(parameter, name) {
  const trials = ASKED.filter((trial) => parameter.name in trial.point);
  const missing = ASKED.length - trials.length;
  return el("figure", { class: "picture card slice" },
    el("figcaption", {}, words(parameter.name), missing > 0 && el("span", { class: "faint" }, `, in ${count(trials.length)} of ${count(ASKED.length)} trials`)),
    responsive(el("div", { class: "canvas" }), (width) => sliceChart(width, parameter, name, trials)));
}

function sliceChart(width, parameter, name, trials) {
  const height = 210;
  const margin = { left: 48, right: 10, top: 26, bottom: 30 };
  const range = reach(ASKED.map((trial) => trial.sought[name]), name === "accuracy");
  const y = scale(range, [height - margin.bottom, margin.top]);
  const { x, marks, text, step } = across(parameter, [margin.left, width - margin.right]);
  const maxChars = Math.max(3, Math.floor(step / 7.5) - 1);
  const at = (value) => trials.filter((trial) => String(trial.point[parameter.name]) === value).map((trial) => trial.sought[name]);
  const means = parameter.kind !== "choice" ? [] : parameter.values.map((value) => [value, at(value)]).filter(([, values]) => values.length)
    .map(([value, values]) => [value, values.reduce((sum, one) => sum + one, 0) / values.length]);
  const spoken = means.map(([value, mean]) => `${choice(value)}: mean ${OBJECTIVES[name].text(mean)} of ${at(value).length}`).join("; ");
  return svg("svg", { class: "chart", width, height, role: "img", "aria-label": `${name} at each value of ${shown(parameter.name)}; ${shown(spoken)}` },
    axes(width, height, margin, {
      y, yTicks: ticks(...range, 3), yTick: OBJECTIVES[name].tick, yName: OBJECTIVES[name].axis,
      x, xTicks: [], xTick: String, xName: null,
    }),
    marks.map((mark) => svg("g", {}, svg("title", {}, shown(text(mark))), label(x(mark), height - margin.bottom + 18, clip(shown(text(mark)), maxChars), "small", "middle"))),
    means.map(([value, mean]) => line(x(value) - Math.min(18, step / 3), y(mean), x(value) + Math.min(18, step / 3), y(mean), "mean")),
    trials.map((trial) => trialPoint(trial, x(trial.point[parameter.name]) + shift(trial.number, step), y(trial.sought[name]))));
}

// A small horizontal offset that separates trials of one value; it is fixed for each trial.
function shift(number, step) {
  return (((number * 0.618034) % 1) - 0.5) * Math.min(24, step / 2);
}

function slices() {
  const box = el("div", { class: "pictures slices" });
  const draw = (name) => box.replaceChildren(...DATA.holes.map((parameter) => slicePicture(parameter, name)));
  draw(DATA.objectives[0][0]);
  const tabs = DATA.objectives.map(([name], index) => el("button", {
    class: "tab",
    "aria-pressed": String(index === 0),
    onclick: (event) => {
      for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab === event.currentTarget));
      draw(name);
    },
  }, name));
  return [tabs.length > 1 && el("div", { class: "tabs", role: "group", "aria-label": "Objective" }, tabs), box];
}

function drawParameters() {
  if (!ASKED.length) return null;
  return [
    section("importance", "Parameter importance",
      el("p", { class: "faint small" }, "By conditional PED-ANOVA, which includes parameters that exist in only some trials. It describes the trials of this search, not all configurations: it cannot judge values that were seldom tried."),
      el("div", { class: "pictures" }, DATA.importance.map(importanceCard))),
    section("slices", "Results by parameter value",
      el("p", { class: "faint small" }, "Each point is a trial, and each bar is the mean of the trials with a value, which may differ in other parameters, too. Stopped trials are shown at their predicted values."),
      slices()),
  ];
}
