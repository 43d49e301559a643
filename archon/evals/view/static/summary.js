// The head of the page: the run and its result.

function runFacts(run) {
  const { report } = run;
  const models = Object.entries(report.models ?? {});
  const byName = new Map();
  for (const [role, name] of models) {
    const precision = run.precisions[role];
    const label = `${name ?? "custom model"}${precision ? ` ${precision}` : ""}`;
    byName.set(label, [...(byName.get(label) ?? []), role]);
  }
  const versions = Object.entries(run.versions ?? {}).map(([name, version]) => `${name} ${version}`);
  return [
    ["split", report.split],
    ["models", [...byName].map(([name, roles]) => `${name} (${roles.length > 3 ? `${roles.length} roles` : roles.join(", ")})`).join("; ")],
    ["seed", report.seed],
    ["epochs", report.epochs],
    ["scorer", report.scorer],
    ...furtherFigures(report),
    ["started", date(run.start_time)],
    ["machine", [run.machine?.platform, run.machine?.cpus && `${run.machine.cpus} cores`].filter(Boolean).join(", ")],
    ["versions", versions.join(", ")],
    ["folder", report.run],
  ].filter(([, value]) => value !== undefined && value !== null && value !== "");
}

// Means of further scorers and metrics, and the accuracy of each group.
function furtherFigures(report) {
  const metrics = Object.entries(report.metrics ?? {}).map(([name, { mean, interval }]) => {
    const range = interval ? ` [${interval.map((end) => decimal(end, 3)).join(", ")}]` : "";
    return [name, `${decimal(mean, 3)}${range}`];
  });
  const groups = Object.entries(report.groups ?? {}).map(([column, rows]) => [
    `by ${column}`,
    rows.map((row) => `${row.name} ${percent(row.accuracy)} of ${count(row.num_items)}`).join("; "),
  ]);
  return [...metrics, ...groups];
}

function notices(run) {
  const { report } = run;
  const texts = [];
  if (report.interrupted) {
    texts.push(`Not finished: ${count(report.num_runs)} of ${count(run.num_asked)} answers so far. The figures cover only these.`);
  }
  texts.push(...answerNotices(report));
  for (const warning of report.warnings ?? []) texts.push(warning);
  return texts.map((text) => el("p", { class: "notice", role: "note" }, words(text)));
}

function figures(index) {
  const { report } = DATA.runs[index];
  return el("div", { class: "figures" },
    figure(count(report.cost_tokens), "tokens per answer", "each prompt once, plus its completions"),
    figure(seconds(report.seconds), "per answer", report.wall_seconds ? `${seconds(report.wall_seconds)} for the run` : null),
    figure(count(report.tokens_per_second), "tokens per second", `${count(report.usage?.generated_tokens)} tokens decoded`),
    figure(count(report.usage?.calls), "calls", report.usage?.prompt_tokens
      ? `${percent(report.usage.cached_tokens / report.usage.prompt_tokens, 0)} of prompt tokens cached` : null));
}

// The outcomes of the answers. A lost answer is wrong although a candidate was right.
function outcomeBar(run) {
  const rows = DATA.rows[run];
  const lost = rows.filter((row) => row.outcome === "wrong" && row.some_right).length;
  const wrong = rows.filter((row) => row.outcome === "wrong").length - lost;
  const parts = [
    ["right", rows.filter((row) => row.outcome === "right").length, "right"],
    ["lost", lost, "wrong, although a candidate was right"],
    ["wrong", wrong, "wrong"],
    ["failed", rows.filter((row) => row.outcome === "failed").length, "failed"],
  ].filter(([, number]) => number);
  return el("div", { class: "outcomes" },
    el("div", { class: "outcome-bar", "aria-hidden": "true" }, parts.map(([kind, number]) => {
      const part = el("span", { class: `part ${kind}` });
      part.style.flexGrow = number;
      return part;
    })),
    el("ul", { class: "outcome-key" }, parts.map(([kind, number, name]) =>
      el("li", {}, el("button", { class: "plain", onclick: () => showItems({ outcome: kind }) },
        el("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), `${count(number)} ${name}`)))));
}

function curvePictures(run) {
  const curves = Object.entries(run.report.curves ?? {}).filter(([, list]) => list.length > 1);
  return curves.map(([node, list]) => el("figure", { class: "picture card" },
    el("figcaption", {}, words(node), ": pass@k (one of k samples is right) and vote@k (their vote is right)"),
    responsive(el("div", { class: "canvas" }), (width) => curveChart(width, list))));
}

function drawSummary() {
  const run = DATA.runs[0];
  const { report } = run;
  const answers = report.num_runs === report.num_items
    ? plural(report.num_items, "item")
    : `${plural(report.num_runs, "answer")} to ${plural(report.num_items, "item")}`;
  return el("header", { class: "head" },
    el("p", { class: "eyebrow" }, "Archon evaluation"),
    el("h1", {}, words(run.name), el("span", { class: "on" }, " on "), words(report.benchmark)),
    run.description && el("p", { class: "lead" }, words(run.description)),
    notices(run),
    el("div", { class: "hero" },
      el("div", { class: "card score-card" },
        el("div", { class: "score-line" },
          el("span", { class: "score" }, percent(report.accuracy)),
          el("span", { class: "score-name" }, "accuracy, ", answers)),
        responsive(el("div", { class: "canvas" }), (width) => shareBar(width, report.accuracy, report.accuracy_interval)),
        report.accuracy_interval && el("p", { class: "faint small" }, `95% interval ${interval(report.accuracy_interval)}%`),
        hasPartialScores(report) && el("p", { class: "small" }, `mean score ${meanScore(report)}, partial scores included`),
        outcomeBar(0)),
      el("div", { class: "card" }, figures(0), el("details", { class: "about" }, el("summary", {}, "About this run"), facts(runFacts(run))))),
    el("div", { class: "pictures" }, curvePictures(run)));
}
