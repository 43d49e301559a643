// Comparisons and searches of the folder.

function drawComparisons() {
  if (!DATA.comparisons.length) return null;
  const known = new Map(DATA.runs.map((run) => [run.path, run]));
  return section("comparisons", "Comparisons",
    el("ul", { class: "card comparisons" }, DATA.comparisons.map((comparison) => {
      const runs = comparison.runs.map((path) => known.get(path)).filter(Boolean);
      const groups = [...new Set(runs.map(groupOf))].filter(Boolean);
      return el("li", {},
        el("span", {}, comparison.href ? el("a", { href: comparison.href }, words(comparison.path)) : el("b", {}, words(comparison.path)),
          el("span", { class: "below" }, words(runs.map((run) => run.architecture ?? "damaged").join(", ")), " on ", words(groups.join(", ")))),
        el("button", { disabled: runs.length < 2 || runs.length > MOST_COMPARED || groups.length !== 1, onclick: () => chooseRuns(runs) }, "Compare"));
    })));
}

function chooseRuns(runs) {
  selected.clear();
  for (const run of runs) if (run.marks?.length) selected.add(run.path);
  view.compares = true;
  refreshChoices();
  document.getElementById("compared").scrollIntoView({ block: "start" });
}

function drawStudies() {
  if (!DATA.studies.length) return null;
  const heads = ["Search", "Benchmark", "Trials", "Accuracy of the best", "Tokens per answer", "Started", "State"];
  return section("studies", "Searches",
    el("div", { class: "card table-card" }, el("table", { class: "collection studies" },
      el("thead", {}, el("tr", {}, heads.map((name, index) => el("th", { scope: "col", class: [2, 3, 4, 5].includes(index) ? "number" : null }, name)))),
      el("tbody", {}, DATA.studies.map(studyRow)))));
}

function studyRow(study) {
  const name = words(study.space ?? study.name);
  const head = el("th", { scope: "row", class: "run" }, study.href ? el("a", { href: study.href }, name) : name, el("span", { class: "below" }, words(study.path)));
  if (study.reason) return el("tr", { class: "row damaged" }, head, el("td", { colspan: 6, class: "reason" }, brief(study.reason, {}, 200)));
  return el("tr", { class: "row" }, head,
    el("td", { class: "benchmark" }, words(study.benchmark)),
    el("td", { class: "size number", "data-name": "trials" }, count(study.num_trials)),
    el("td", { class: "accuracy number" }, accuracyCell(study), study.accuracy_split && el("span", { class: "below" },
      study.accuracy_split === "test" ? "on test, unseen before" : "on search, which chose it")),
    el("td", { class: "cost number", "data-name": "tokens" }, count(study.cost_tokens)),
    el("td", { class: "date number" }, day(study.start_time)),
    el("td", { class: `state ${study.state}` }, study.state ?? ""));
}
