// The head of the page: the subject of the search, and the three accuracies.

function notices() {
  const texts = [];
  const gone = DATA.under_way.filter((trial) => trial.is_gone).length;
  const running = DATA.under_way.length - gone;
  if (running) texts.push(`The search is running: ${plural(running, "trial is", "trials are")} in progress. This page shows the results so far.`);
  if (gone) texts.push(`${plural(gone, "trial was", "trials were")} interrupted because the worker ended. Resume with --study ${DATA.name} --resume.`);
  if (DATA.claimed_by && !LAST) {
    texts.push(DATA.claimed_by.is_gone
      ? "The worker that ran the finals has ended. Resume with --resume, which starts them again."
      : `The worker ${DATA.claimed_by.worker} is running the finals.`);
  }
  if (!DATA.trials.length && !DATA.under_way.length) texts.push("No trial has finished yet.");
  else if (!DATA.trials.some((trial) => trial.outcome === "whole" && trial.is_feasible)) {
    texts.push("No trial has answered every item within the limits, so there is no winner yet.");
  }
  texts.push(...(LAST?.warnings ?? []));
  return texts.map((text) => el("p", { class: "notice", role: "note" }, words(text)));
}

// One of the three accuracies; the most reliable one is first and large.
function number(name, detail, report, kind = "") {
  const { accuracy, interval: bounds } = report;
  return el("div", { class: `number-row ${kind}` },
    el("div", { class: "number-name" }, el("b", {}, name), el("span", { class: "below" }, detail)),
    el("div", { class: "number-value" }, percent(accuracy), bounds && el("span", { class: "below" }, `${interval(bounds)}%`)),
    responsive(el("div", { class: "canvas" }), (width) => shareBar(width, accuracy, bounds, { height: 26, axis: false })));
}

function reported(report) {
  return { accuracy: report.accuracy, interval: report.accuracy_interval };
}

// The winner, or the best trial so far.
function leading() {
  return TRIALS.get(WINNER ?? DATA.architectures[0]?.trial);
}

function threeNumbers() {
  const leader = leading();
  if (!leader) return el("div", { class: "card" }, el("h2", {}, "No winner yet"), el("p", { class: "faint" }, "The results appear here once a trial has answered every search item."));
  const search = number("search", `${plural(leader.num_items, "item")}, used to choose ${LAST ? "the finalists" : "this trial"}`, leader, LAST ? "" : "first");
  return el("div", { class: "card numbers-card" },
    el("h2", {}, LAST ? "The winner, trial " : "The best so far, trial ", String(leader.number)),
    LAST && number("test", `${plural(LAST.test.num_items, "item")}, unseen before`, reported(LAST.test), "first"),
    LAST && number("select", `${plural(LAST.select.num_items, "item")}, used to choose among ${plural(LAST.finalists.length, "finalist")}`, reported(LAST.select)),
    search,
    LAST ? equalCost(LAST.equal_cost) : el("p", { class: "faint small" }, "No finals were run. On other items, this trial is likely to do worse."));
}

function equalCost(row) {
  if (!row || row.difference === null) return el("p", { class: "faint small" }, "There is no plain vote to compare with.");
  return el("div", { class: "against" },
    el("p", {}, el("b", {}, `${points(row.difference)} points`), ` on the test items, against a vote over ${plural(row.drafts, "sample")} at the same cost`),
    responsive(el("div", { class: "canvas" }), (width) =>
      differenceBar(width, row.difference, row.interval, Math.max(0.05, Math.abs(row.interval[0]), Math.abs(row.interval[1])) * 1.1)),
    el("p", { class: "faint small" }, `95% interval ${interval(row.interval, points)}, p ${probability(row.p_value)}, ${plural(row.num_items, "paired item")}; ${count(row.cost_tokens)} and ${count(row.vote_cost_tokens)} tokens per answer`));
}

function studyFigures() {
  const { tokens, outcomes } = DATA;
  const leader = leading();
  const less = tokens.generated_tokens ? tokens.without_both_tokens / tokens.generated_tokens : null;
  const parts = Object.entries(TRIAL_OUTCOMES).filter(([key]) => outcomes[key]).map(([key, name]) => `${count(outcomes[key])} ${name}`);
  return el("div", { class: "figures" },
    figure(count(DATA.num_trials), "trials", parts.join(", ")),
    figure(count(tokens.generated_tokens), "tokens decoded in trials", less && `${count(tokens.without_both_tokens)} without pool and stopping, ${decimal(less, 1)} times the tokens`),
    figure(count(DATA.space.num_points), "configurations in the space", DATA.space.num_points === null ? "too many to count" : null),
    leader && figure(count(leader.tokens), `tokens per answer, trial ${leader.number}`, `${seconds(leader.seconds)} per answer`));
}

function studyFacts() {
  const limits = Object.entries(DATA.limits).map(([name, limit]) => `${limit} ${name}`);
  const models = Object.entries(DATA.models).map(([role, model]) => `${model} (${role})`);
  return [
    ["objectives", DATA.objectives.map(([name, more]) => `${more ? "maximize" : "minimize"} ${name}`).join(", ")],
    ["limits", limits.join(", ")],
    ["search items", count(DATA.num_items)],
    ["replaced models", models.join(", ")],
    ["seed", DATA.seed],
    ["study", DATA.name],
    ["storage", DATA.storage],
    ["finals ended", LAST && date(LAST.end_time)],
  ].filter(([, value]) => value !== "" && value !== null);
}

// Finals before the last, whose test items are no longer unseen.
function earlierFinals() {
  const earlier = DATA.finals.slice(1);
  if (!earlier.length) return null;
  return el("details", { class: "fold" },
    el("summary", {}, `Earlier finals (${earlier.length})`),
    el("div", { class: "fold-body scroll" }, el("table", { class: "small-table numbers" },
      el("thead", {}, el("tr", {}, ["Ended", "Trials", "Winner", "Select", "Test", "Against plain vote"].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, earlier.map((entry) => el("tr", {},
        el("th", { scope: "row" }, date(entry.end_time)),
        [count(entry.num_trials), `trial ${entry.winner}`, percent(entry.select.accuracy), percent(entry.test.accuracy),
          entry.equal_cost?.difference !== undefined && entry.equal_cost?.difference !== null ? points(entry.equal_cost.difference) : "–"].map((text) => el("td", { class: "number" }, text))))))));
}

function drawHead() {
  return el("header", { class: "head" },
    el("p", { class: "eyebrow" }, "Archon search"),
    el("h1", {}, words(DATA.space.name), el("span", { class: "on" }, " on "), words(DATA.benchmark)),
    DATA.space.description && el("p", { class: "lead" }, words(DATA.space.description)),
    notices(),
    el("div", { class: "hero" }, threeNumbers(),
      el("div", { class: "card" }, studyFigures(), el("details", { class: "about" }, el("summary", {}, "About this study"), facts(studyFacts())))),
    earlierFinals());
}
