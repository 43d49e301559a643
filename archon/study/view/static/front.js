// Trials by cost, and in the order of time.

function frontPicture(cost) {
  const rows = DATA.trials.filter((trial) => trial.num_items && trial[cost] !== null);
  if (!rows.length) return null;
  return el("figure", { class: "picture card" },
    el("figcaption", {}, `Accuracy against ${cost} per answer`),
    responsive(el("div", { class: "canvas" }), (width) => planeChart(width, rows, cost)),
    legend([["front-line", "best for its cost"], WINNER !== null && ["winner", "winner"], ["whole", "complete"], ["stopped", "stopped or above a limit, on the items asked so far"]]));
}

function planeChart(width, trials, cost) {
  const height = Math.max(260, Math.min(380, width * 0.62));
  const margin = { left: 40, right: 20, top: 28, bottom: 40 };
  const across = spread(trials.map((trial) => trial[cost]), [margin.left, width - margin.right], width < 420 ? 3 : 5);
  const range = reach(trials.map((trial) => trial.accuracy), true);
  const y = scale(range, [height - margin.bottom, margin.top]);
  const { x } = across;
  const best = envelope(trials.filter((trial) => trial.outcome === "whole" && trial.is_feasible), cost);
  const steps = best.map((trial, index) => (index ? `H${x(trial[cost])}V${y(trial.accuracy)}` : `M${x(trial[cost])},${y(trial.accuracy)}`)).join("");
  const named = best.map((trial) => ({ x: trial[cost], y: trial.accuracy, name: String(trial.number), front: true }));
  const description = `accuracy against ${cost}; on the front: ${best.map((trial) => `trial ${trial.number}, ${percent(trial.accuracy)}`).join("; ")}`;
  const last = (trial) => (trial.number === WINNER ? 2 : best.includes(trial) ? 1 : 0);
  return svg("svg", { class: "chart", width, height, role: "img", "aria-label": description },
    axes(width, height, margin, {
      y, yTicks: ticks(...range, 5), yTick: OBJECTIVES.accuracy.tick, yName: OBJECTIVES.accuracy.axis,
      x, xTicks: across.marks, xTick: OBJECTIVES[cost].tick, xName: OBJECTIVES[cost].axis, xRank: across.rank,
    }),
    svg("path", { d: steps, class: "front" }),
    [...trials].sort((a, b) => last(a) - last(b)).map((trial) => trialPoint(trial, x(trial[cost]), y(trial.accuracy), best.includes(trial) ? "best" : "")),
    namesOf(named, x, y, width, height - margin.bottom).labels);
}

// Trials that are more accurate than all that cost no more, the cheapest first.
function envelope(trials, cost) {
  const found = [];
  for (const trial of [...trials].sort((a, b) => a[cost] - b[cost] || b.accuracy - a.accuracy)) {
    if (!found.length || trial.accuracy > found.at(-1).accuracy) found.push(trial);
  }
  return found;
}

function historyPicture([name, isMore]) {
  if (!ASKED.length) return null;
  return el("figure", { class: "picture card" },
    el("figcaption", {}, `History: ${name} of each trial, and the best so far`),
    responsive(el("div", { class: "canvas" }), (width) => historyChart(width, name, isMore)),
    legend([["best-line", "best so far"], ["whole", "complete"], ["stopped", "stopped or above a limit"]]));
}

function historyChart(width, name, isMore) {
  const height = Math.max(220, Math.min(300, width * 0.5));
  const margin = { left: 48, right: 20, top: 28, bottom: 40 };
  const last = Math.max(1, ...DATA.trials.map((trial) => trial.number));
  const x = scale([0, last], [margin.left + 8, width - margin.right - 8]);
  const range = reach(ASKED.map((trial) => trial.sought[name]), name === "accuracy");
  const y = scale(range, [height - margin.bottom, margin.top]);
  let best = null, steps = "";
  for (const trial of ASKED.filter((one) => one.outcome === "whole" && one.is_feasible)) {
    const value = trial.sought[name];
    if (best !== null && (isMore ? value <= best : value >= best)) continue;
    steps += best === null ? `M${x(trial.number)},${y(value)}` : `H${x(trial.number)}V${y(value)}`;
    best = value;
  }
  if (best !== null) steps += `H${x(last)}`;
  const description = `${name} of ${plural(ASKED.length, "trial")}${best === null ? "" : `, the best ${OBJECTIVES[name].text(best)}`}`;
  return svg("svg", { class: "chart", width, height, role: "img", "aria-label": description },
    axes(width, height, margin, {
      y, yTicks: ticks(...range, 4), yTick: OBJECTIVES[name].tick, yName: OBJECTIVES[name].axis,
      x, xTicks: ticks(0, last, width < 420 ? 4 : 8).filter(Number.isInteger), xTick: String, xName: "trial",
    }),
    svg("path", { d: steps, class: "best-line" }),
    ASKED.map((trial) => trialPoint(trial, x(trial.number), y(trial.sought[name]))));
}

function drawFront() {
  if (!ASKED.length) return null;
  const costs = ["tokens", ...["compute", "seconds"].filter((cost) => DATA.objectives.some(([name]) => name === cost))];
  return section("front", "Trials", el("div", { class: "pictures" }, costs.map(frontPicture), DATA.objectives.map(historyPicture)));
}
