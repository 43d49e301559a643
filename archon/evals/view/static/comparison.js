// Several runs beside each other: error bars, paired differences, fronts.

function drawComparison() {
  const { rows, pairs, warnings } = DATA.comparison;
  const benchmarks = [...new Set(DATA.runs.map((run) => `${run.report.benchmark} (${run.report.split})`))];
  const told = (warnings ?? []).map((text) => (typeof text === "string" ? text : JSON.stringify(text)));
  if (benchmarks.length > 1) told.unshift(`These runs are of different benchmarks or splits: ${benchmarks.join(", ")}.`);
  return el("header", { class: "head" },
    el("p", { class: "eyebrow" }, "Archon comparison"),
    el("h1", {}, `${plural(DATA.runs.length, "architecture")} `, el("span", { class: "on" }, "on "), words(benchmarks[0])),
    el("p", { class: "lead" }, "The same items and, where two ask for the same, the same draws. ",
      `${plural(DATA.items.length, "item")}.`),
    told.map((text) => el("p", { class: "notice", role: "note" }, words(text))),
    DATA.runs.filter((run) => run.report.interrupted || run.report.num_errors).map((run) =>
      el("p", { class: "notice", role: "note" }, words(run.name), ": ",
        run.report.interrupted ? `interrupted after ${count(run.report.num_runs)} answers. ` : "",
        run.report.num_errors ? `${plural(run.report.num_errors, "answer")} failed, and ${run.report.num_errors === 1 ? "counts" : "count"} as wrong.` : "")),
    runTable(),
    fronts(rows),
    pairTable(pairs));
}

function runTable() {
  return section("runs", "Accuracy",
    el("div", { class: "card scroll" }, el("table", { class: "runs" },
      el("thead", {}, el("tr", {}, ["Architecture", "Accuracy", "95 % interval", "Tokens an answer", "Seconds an answer", "Failed"].map((name) =>
        el("th", { scope: "col" }, name)))),
      el("tbody", {}, DATA.runs.map((run, place) => el("tr", {},
        el("th", { scope: "row" }, words(run.name), el("span", { class: "below" },
          words([...new Set(Object.values(run.report.models ?? {}).filter(Boolean))].join(", ")))),
        el("td", { class: "number strong", "data-name": "accuracy" }, percent(run.report.accuracy)),
        el("td", { class: "bar" }, responsive(el("div", { class: "canvas" }), (width) =>
          shareBar(width, run.report.accuracy, run.report.accuracy_interval, { height: 26, axis: false }))),
        el("td", { class: "number", "data-name": "tokens" }, count(run.report.cost_tokens)),
        el("td", { class: "number", "data-name": "seconds" }, seconds(meanSeconds(place))),
        el("td", { class: "number", "data-name": "failed" }, count(run.report.num_errors))))))));
}

function pairTable(pairs) {
  const reach = Math.max(0.05, ...pairs.flatMap((pair) => pair.interval.map(Math.abs))) * 1.05;
  const adjusted = pairs.some((pair) => typeof pair.p_value_adjusted === "number");
  return section("pairs", "Paired differences",
    el("p", { class: "faint" }, "Accuracy of the first minus that of the second on the items that both have, in points, with its 95\u00a0% interval. ",
      adjusted ? "p is corrected for the number of pairs." : ""),
    el("div", { class: "card scroll" }, el("table", { class: "pairs" },
      el("thead", {}, el("tr", {}, ["First − second", "Difference", "95 % interval", "Items", "p"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, pairs.map((pair) => el("tr", {},
        el("th", { scope: "row" }, words(pair.a), el("span", { class: "faint" }, " − "), words(pair.b)),
        el("td", { class: "number strong", "data-name": "difference" }, points(pair.difference)),
        el("td", { class: "bar" }, responsive(el("div", { class: "canvas" }), (width) =>
          differenceBar(width, pair.difference, pair.interval, reach)),
          el("span", { class: "below" }, interval(pair.interval, points))),
        el("td", { class: "number", "data-name": "items" }, count(pair.num_items)),
        el("td", { class: "number", "data-name": "p" }, probability(pair.p_value_adjusted ?? pair.p_value),
          typeof pair.p_value_adjusted === "number" && el("span", { class: "below" }, `${probability(pair.p_value)} alone`))))))));
}

function fronts(rows) {
  const axes = [
    { key: "on_cost_front", name: "tokens an answer", value: (run) => run.report.cost_tokens, format: count },
    { key: "on_seconds_front", name: "seconds an answer", value: (_, place) => meanSeconds(place), format: seconds },
  ];
  return section("fronts", "What accuracy costs",
    el("p", { class: "faint" }, "Nothing else is both more accurate and cheaper than what stands on the line."),
    el("div", { class: "pictures" }, axes.map((axis) => {
      const list = DATA.runs.map((run, place) => ({
        name: run.name,
        x: axis.value(run, place),
        y: run.report.accuracy,
        bounds: run.report.accuracy_interval,
        given: rows[place]?.[axis.key],
      })).filter((row) => typeof row.x === "number" && typeof row.y === "number");
      if (!list.length) return null;
      for (const row of list) row.front = row.given ?? !list.some((other) => beats(other, row));
      return el("figure", { class: "picture card" },
        el("figcaption", {}, `Accuracy and ${axis.name}`),
        responsive(el("div", { class: "canvas" }), (width) => frontChart(width, list, axis.name, axis.format)));
    })));
}

function beats(other, row) {
  return other.x <= row.x && other.y >= row.y && (other.x < row.x || other.y > row.y);
}
