// The comparison of the selected runs, computed from their results by item.

function selectionBar() {
  return el("div", { class: "selection", id: "selection", role: "region", "aria-label": "Selected runs", hidden: true });
}

function refreshBar() {
  const bar = document.getElementById("selection");
  const runs = selectedRuns();
  bar.hidden = runs.length === 0;
  const tooMany = runs.length > MOST_COMPARED;
  bar.replaceChildren(
    el("span", {}, plural(runs.length, "run"), " selected", runs.length === 1 ? "; select another to compare" : tooMany ? `; at most ${MOST_COMPARED} can be compared` : ""),
    el("button", { class: "download", disabled: runs.length < 2 || tooMany, onclick: () => { view.compares = true; refreshPanel(); document.getElementById("compared").scrollIntoView({ block: "start" }); } }, "Compare"),
    el("button", { onclick: () => { selected.clear(); view.compares = false; refreshPanel(); refreshChoices(); } }, "Clear"));
  if (view.compares) refreshPanel();
}

function refreshPanel() {
  const box = document.getElementById("compared");
  const runs = selectedRuns();
  box.hidden = !view.compares || runs.length < 2 || runs.length > MOST_COMPARED;
  if (!box.hidden) box.replaceChildren(drawPanel(runs));
  else box.replaceChildren();
}

// Names that distinguish the runs: the architecture, and where needed the models or the folder.
function distinctNames(runs) {
  const forms = [
    (run) => run.architecture,
    (run) => `${run.architecture} · ${modelNames(run)}`,
    (run) => `${run.architecture} · ${run.path.split("/").at(-1)}`,
    (run) => run.path,
  ];
  return runs.map((run) => {
    const form = forms.find((one) => runs.filter((other) => one(other) === one(run)).length === 1) ?? forms.at(-1);
    return form(run);
  });
}

function pairsOf(runs) {
  const names = distinctNames(runs);
  const pairs = [];
  for (let a = 0; a < runs.length; a += 1) {
    for (let b = a + 1; b < runs.length; b += 1) {
      const differences = pairedDifferences(runs[a].marks, runs[b].marks);
      const pair = { a: names[a], b: names[b], num_items: differences.length };
      pairs.push(differences.length ? {
        ...pair, difference: average(differences), interval: pairedInterval(differences), p: pairedProbability(differences),
      } : pair);
    }
  }
  const tested = pairs.filter((pair) => pair.num_items);
  holm(tested.map((pair) => pair.p)).forEach((value, index) => { tested[index].adjusted = value; });
  return pairs;
}

// What differs between the runs besides their architecture.
function cautions(runs) {
  const texts = [];
  const varies = (name, value) => {
    const values = [...new Set(runs.map(value))];
    if (values.length > 1) texts.push(`The runs have different ${name}: ${values.join(", ")}.`);
  };
  varies("scorers", (run) => run.scorer);
  varies("seeds, so their samples are different", (run) => run.seed);
  varies("numbers of epochs", (run) => run.epochs);
  const open = runs.filter((run) => run.state !== "finished").length;
  if (open) texts.push(`${plural(open, "run is", "runs are")} not finished; the figures cover the answers so far.`);
  return texts;
}

function drawPanel(runs) {
  const pairs = pairsOf(runs);
  const names = distinctNames(runs);
  const several = pairs.length > 1;
  const isWhole = runs.every((run) => typeof run.marks === "string");
  const reach = Math.max(0.05, ...pairs.flatMap((pair) => (pair.interval ?? []).map(Math.abs))) * 1.05;
  return section("compared", `Comparison on ${shown(groupOf(runs[0]))}`,
    cautions(runs).map((text) => el("p", { class: "notice", role: "note" }, words(text))),
    el("div", { class: "card scroll" }, el("table", { class: "runs" },
      el("thead", {}, el("tr", {}, ["Run", "Accuracy", "95% interval", "Tokens per answer"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, runs.map((run, index) => el("tr", {},
        el("th", { scope: "row" }, words(names[index]), el("span", { class: "below" }, words(modelNames(run)))),
        el("td", { class: "number strong", "data-name": "accuracy" }, percent(run.accuracy)),
        el("td", { class: "bar" }, responsive(el("div", { class: "canvas" }), (width) => shareBar(width, run.accuracy, run.accuracy_interval, { height: 26, axis: false }))),
        el("td", { class: "number", "data-name": "tokens" }, count(run.cost_tokens))))))),
    el("div", { class: "card scroll paired" }, el("table", { class: "pairs" },
      el("thead", {}, el("tr", {}, ["First − second", "Difference", "95% interval", "Items", "p"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, pairs.map((pair) => pairRow(pair, reach, several))))),
    el("p", { class: "faint small method" }, "Accuracy of the first minus accuracy of the second, in points, on the items of both. The interval is a percentile bootstrap over items; p is ",
      isWhole ? "McNemar's exact test" : "a sign-flip test over items (items were asked several times)",
      several ? ", corrected for the number of pairs by Holm's method" : "",
      ". The p-values do not know that you chose these runs after seeing their results."),
    el("p", { class: "faint small" }, DATA.live
      ? el("a", { href: `compare?${runs.map((run) => `run=${encodeURIComponent(run.path)}`).join("&")}` }, "All answers side by side, and the comparison at equal cost")
      : ["All answers side by side, and the comparison at equal cost: ", el("code", {}, `archon view ${runs.map((run) => quoted(run.path)).join(" ")}`)]));
}

function quoted(path) {
  return /^[\w./-]+$/.test(path) ? path : `'${shown(path).replace(/'/g, "'\\''")}'`;
}

function pairRow(pair, reach, several) {
  const name = el("th", { scope: "row" }, words(pair.a), el("span", { class: "faint" }, " − "), words(pair.b));
  if (!pair.num_items) return el("tr", {}, name, el("td", { colspan: 4, class: "faint" }, "no common items"));
  return el("tr", {}, name,
    el("td", { class: "number strong", "data-name": "difference" }, points(pair.difference)),
    el("td", { class: "bar" }, responsive(el("div", { class: "canvas" }), (width) => differenceBar(width, pair.difference, pair.interval, reach)),
      el("span", { class: "below" }, interval(pair.interval, points))),
    el("td", { class: "number", "data-name": "items" }, count(pair.num_items)),
    el("td", { class: "number", "data-name": "p" }, probability(pair.adjusted), several && el("span", { class: "below" }, `${probability(pair.p)} uncorrected`)));
}
