// Shared parts of all charts of trials: data, formats of objectives, axes, points.

const DATA = JSON.parse(document.getElementById("data").textContent);

const OBJECTIVES = {
  accuracy: { axis: "accuracy, %", text: (value) => percent(value), tick: (value) => decimal(value, 0, 2) },
  tokens: { axis: "tokens per answer", text: (value) => `${count(value)} tokens`, tick: (value) => count(value) },
  compute: { axis: "compute per answer", text: (value) => flops(value), tick: (value) => flops(value) },
  seconds: { axis: "time per answer", text: (value) => seconds(value), tick: (value) => seconds(value) },
};

// Floating-point operations in a fitting unit.
function flops(value) {
  const power = value ? Math.min(6, Math.max(0, Math.floor(Math.log10(value) / 3))) : 0;
  return `${decimal(value / 1000 ** power, 1)} ${["", "k", "M", "G", "T", "P", "E"][power]}FLOP`;
}

// The names of outcomes on the page, in the order of the summary.
const TRIAL_OUTCOMES = { whole: "complete", stopped: "stopped", repeated: "repeated", rejected: "rejected", failed: "failed" };

const TRIALS = new Map(DATA.trials.map((trial) => [trial.number, trial]));
const ASKED = DATA.trials.filter((trial) => Object.keys(trial.sought).length > 0);
const LAST = DATA.finals[0] ?? null;
const WINNER = LAST?.winner ?? null;

// A choice without the quotes of JSON strings.
function choice(value) {
  const text = String(value);
  return /^"[^"\\]*"$/.test(text) ? text.slice(1, -1) : text;
}

function choices(point) {
  return Object.entries(point).map(([name, value]) => `${name} ${choice(value)}`).join(", ");
}

// The point of a trial in a chart; its tooltip has the values and the choices.
function trialPoint(trial, x, y, kind = "") {
  const state = trial.number === WINNER ? "winner" : trial.outcome === "whole" && trial.is_feasible ? "whole" : "stopped";
  const values = Object.entries(trial.sought).map(([name, value]) => OBJECTIVES[name].text(value)).join(", ");
  const note = trial.outcome === "stopped" ? " (stopped, predicted)" : trial.is_feasible ? "" : " (above a limit)";
  return svg("a", { href: `#trial-${trial.number}`, class: `trial ${state} ${kind}` },
    svg("title", {}, shown(`trial ${trial.number}${note}: ${values}\n${choices(trial.point)}`)),
    svg("circle", { cx: x, cy: y, r: state === "winner" ? 6 : 4.5, class: "dot" }));
}

// The range of values with a small margin; shares stay within 0 and 1.
function reach(values, isShare) {
  const low = Math.min(...values), high = Math.max(...values);
  const margin = (high - low) * 0.08 || Math.abs(high) * 0.1 || 0.05;
  return isShare ? [Math.max(0, low - margin), Math.min(1, high + margin)] : [Math.max(0, low - margin), high + margin];
}

function axes(width, height, margin, { y, yTicks, yTick, yName, x, xTicks, xTick, xName, xRank }) {
  const bottom = height - margin.bottom;
  return [
    yTicks.map((tick) => [
      line(margin.left, y(tick), width - margin.right, y(tick), "grid"),
      label(margin.left - 8, y(tick) + 4, yTick(tick), "small", "end"),
    ]),
    spaced(xTicks, x, xTick, Infinity, xRank).map((tick) => label(x(tick), bottom + 18, xTick(tick), "small", "middle")),
    xName && label(width - margin.right, height - 2, xName, "small", "end"),
    label(4, 12, yName, "small"),
  ];
}

function legend(entries) {
  return el("ul", { class: "plot-key" }, entries.filter(Boolean).map(([kind, text]) =>
    el("li", {}, el("span", { class: `sign ${kind}`, "aria-hidden": "true" }), text)));
}
