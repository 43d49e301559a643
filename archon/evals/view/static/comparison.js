// A comparison of several runs: error bars, paired differences, fronts.

function drawComparison() {
  const { rows, pairs } = DATA.comparison;
  const benchmarks = [...new Set(DATA.runs.map((run) => `${run.report.benchmark} (${run.report.split})`))];
  return el("header", { class: "head" },
    el("p", { class: "eyebrow" }, "Archon comparison"),
    el("h1", {}, `${plural(DATA.runs.length, "architecture")} `, el("span", { class: "on" }, "on "), words(benchmarks[0])),
    el("p", { class: "lead" }, "All runs answer the same items, and equal requests receive the same samples. ",
      `${plural(DATA.items.length, "item")}.`),
    benchmarks.length > 1 && el("p", { class: "notice", role: "note" }, "These runs use different benchmarks or splits: ", words(benchmarks.join(", ")), "."),
    DATA.runs.flatMap((run) => [
      ...(run.report.interrupted ? [`not finished, ${count(run.report.num_runs)} of ${count(run.num_asked)} answers so far.`] : []),
      ...answerNotices(run.report),
    ].map((text) => el("p", { class: "notice", role: "note" }, words(run.name), ": ", words(text)))),
    runTable(rows),
    fronts(rows),
    pairTable(pairs),
    equalCost(DATA.comparison.equal_cost));
}

function runTable(rows) {
  return section("runs", "Accuracy",
    el("div", { class: "card scroll" }, el("table", { class: "runs" },
      el("thead", {}, el("tr", {}, ["Architecture", "Accuracy", "95% interval", "Tokens per answer", "Time per answer", "Failed"].map((name) =>
        el("th", { scope: "col" }, name)))),
      el("tbody", {}, DATA.runs.map((run, index) => el("tr", {},
        el("th", { scope: "row" }, words(run.name), el("span", { class: "below" },
          words([...new Set(Object.values(run.report.models ?? {}).filter(Boolean))].join(", ")))),
        el("td", { class: "number strong", "data-name": "accuracy" }, percent(run.report.accuracy),
          hasPartialScores(run.report) && el("span", { class: "below", title: `mean score ${meanScore(run.report)}` }, `mean score ${decimal(run.report.mean_score, 3)}`)),
        el("td", { class: "bar" }, responsive(el("div", { class: "canvas" }), (width) =>
          shareBar(width, run.report.accuracy, run.report.accuracy_interval, { height: 26, axis: false }))),
        el("td", { class: "number", "data-name": "tokens" }, count(run.report.cost_tokens)),
        el("td", { class: "number", "data-name": "seconds" }, seconds(rows[index].seconds)),
        el("td", { class: "number", "data-name": "failed" }, count(run.report.num_errors))))))));
}

function pairTable(pairs) {
  const reach = Math.max(0.05, ...pairs.flatMap((pair) => pair.interval.map(Math.abs))) * 1.05;
  const adjusted = pairs.length > 1;
  return section("pairs", "Paired differences",
    el("p", { class: "faint" }, "Accuracy of the first minus accuracy of the second, in points, on the items of both, with its 95% interval. ",
      adjusted ? "p is corrected for the number of pairs (Holm)." : ""),
    pairWarnings(),
    el("div", { class: "card scroll" }, el("table", { class: "pairs" },
      el("thead", {}, el("tr", {}, ["First − second", "Difference", "95% interval", "Items", "p"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, pairs.map((pair) => el("tr", {},
        el("th", { scope: "row" }, words(pair.a), el("span", { class: "faint" }, " − "), words(pair.b)),
        el("td", { class: "number strong", "data-name": "difference" }, points(pair.difference),
          pair.mean_score_difference !== undefined && pair.mean_score_difference !== pair.difference
            && el("span", { class: "below", title: `95% interval ${interval(pair.mean_score_interval, points)}, p ${probability(pair.mean_score_p_value)}` }, `mean score ${points(pair.mean_score_difference)}`)),
        el("td", { class: "bar" }, responsive(el("div", { class: "canvas" }), (width) =>
          differenceBar(width, pair.difference, pair.interval, reach)),
          el("span", { class: "below" }, interval(pair.interval, points))),
        el("td", { class: "number", "data-name": "items" }, count(pair.num_items), typeof pair.detectable_difference === "number"
          && el("span", { class: "below", title: "the difference in points that this number of items detects with 80% power" }, `detect ±${decimal(pair.detectable_difference, 0, 2)}`)),
        el("td", { class: "number", "data-name": "p" }, probability(pair.p_value_adjusted ?? pair.p_value),
          adjusted && el("span", { class: "below" }, `${probability(pair.p_value)} uncorrected`))))))));
}

function fronts(rows) {
  const axes = [
    { key: "on_cost_front", name: "tokens per answer", value: (run) => run.report.cost_tokens, format: count },
    { key: "on_seconds_front", name: "time per answer", value: (_, index) => rows[index].seconds, format: seconds },
  ];
  return section("fronts", "Accuracy and cost",
    el("p", { class: "faint" }, "No other run is both more accurate and cheaper than a run on the line."),
    el("div", { class: "pictures" }, axes.map((axis) => {
      const list = DATA.runs.map((run, index) => ({
        name: run.name,
        number: index + 1,
        x: axis.value(run, index),
        y: run.report.accuracy,
        bounds: run.report.accuracy_interval,
        front: rows[index][axis.key],
      })).filter((row) => typeof row.x === "number" && typeof row.y === "number");
      if (!list.length) return null;
      return el("figure", { class: "picture card" },
        el("figcaption", {}, `Accuracy against ${axis.name}`),
        responsive(el("div", { class: "canvas" }), (width) => frontChart(width, list, axis.name, axis.format)));
    })));
}

// Warnings about pairs without a significant difference, folded if there are many.
function pairWarnings() {
  const { warnings } = DATA.comparison;
  const notices = warnings.map((text) => el("p", { class: "notice", role: "note" }, words(text)));
  return warnings.length > 3 ? lazy(`${count(warnings.length)} pairs do not differ significantly`, () => notices) : notices;
}

// Each run next to the plain vote over the samples that its cost buys.
function equalCost(rows) {
  if (!rows.length) return null;
  const reach = Math.max(0.05, ...rows.flatMap((row) => (row.interval ?? []).map(Math.abs))) * 1.05;
  return section("equal-cost", "At equal cost",
    el("p", { class: "faint" }, "Each run compared with a plain vote over the samples of ", words(rows[0].vote), " that its cost buys."),
    el("div", { class: "card scroll" }, el("table", { class: "pairs" },
      el("thead", {}, el("tr", {}, ["Architecture", "Difference", "95% interval", "Vote", "p"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, rows.map((row) => el("tr", {},
        el("th", { scope: "row" }, words(row.name), el("span", { class: "below" }, `${count(row.cost_tokens)} tokens per answer`)),
        el("td", { class: "number strong", "data-name": "difference" }, row.difference === null ? "–" : points(row.difference)),
        el("td", { class: "bar" }, row.interval && responsive(el("div", { class: "canvas" }), (width) =>
          differenceBar(width, row.difference, row.interval, reach)), el("span", { class: "below" }, interval(row.interval, points))),
        el("td", { class: "number", "data-name": "vote" }, percent(row.vote_accuracy),
          el("span", { class: "below" }, `${plural(row.drafts, "sample")}${row.is_enough ? "" : " (all)"}, ${count(row.vote_cost_tokens)} tokens`)),
        el("td", { class: "number", "data-name": "p" }, probability(row.p_value))))))));
}
