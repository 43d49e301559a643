// The head of the page: what was searched, and the three numbers.

function notices() {
  const told = [];
  const gone = DATA.under_way.filter((trial) => trial.is_gone).length;
  const running = DATA.under_way.length - gone;
  if (running) told.push(`The search goes on: ${plural(running, "trial is", "trials are")} under way. The page shows what was told so far.`);
  if (gone) told.push(`${plural(gone, "trial was", "trials were")} left by a worker that is gone; --study ${DATA.name} --resume takes ${gone === 1 ? "it" : "them"} up again.`);
  if (DATA.claimed_by && !LAST) {
    told.push(DATA.claimed_by.is_gone
      ? "The worker that chose among the best is gone; --resume begins its choice again."
      : `A worker, ${DATA.claimed_by.worker}, chooses among the best at this time.`);
  }
  if (!DATA.trials.length && !DATA.under_way.length) told.push("No trial has been told yet.");
  else if (!DATA.trials.some((trial) => trial.outcome === "whole" && trial.is_feasible)) {
    told.push("No trial saw every item within the limits, so nothing was found yet.");
  }
  told.push(...(LAST?.warnings ?? []));
  return told.map((text) => el("p", { class: "notice", role: "note" }, words(text)));
}

// One of the three numbers; the one that counts stands first and large.
function number(name, detail, report, kind = "") {
  const { accuracy, interval: bounds } = report;
  return el("div", { class: `number-row ${kind}` },
    el("div", { class: "number-name" }, el("b", {}, name), el("span", { class: "below" }, detail)),
    el("div", { class: "number-value" }, percent(accuracy), bounds && el("span", { class: "below" }, `${interval(bounds)} %`)),
    responsive(el("div", { class: "canvas" }), (width) => shareBar(width, accuracy, bounds, { height: 26, axis: false })));
}

function reported(report) {
  return { accuracy: report.accuracy, interval: report.accuracy_interval };
}

// The winner, or while there is none the best so far.
function leading() {
  return TRIALS.get(WINNER ?? DATA.architectures[0]?.trial);
}

function threeNumbers() {
  const leader = leading();
  if (!leader) return el("div", { class: "card" }, el("h2", {}, "Nothing found yet"), el("p", { class: "faint" }, "The three numbers stand here once a trial has seen every item of the search."));
  const search = number("search", `${plural(leader.num_items, "item")}, chosen by these`, leader, LAST ? "" : "first");
  return el("div", { class: "card numbers-card" },
    el("h2", {}, LAST ? "The winner, trial " : "The best so far, trial ", String(leader.number)),
    LAST && number("test", `${plural(LAST.test.num_items, "item")} never seen before`, reported(LAST.test), "first"),
    LAST && number("select", `${plural(LAST.select.num_items, "item")}, chosen among ${LAST.finalists.length} by these`, reported(LAST.select)),
    search,
    LAST ? equalCost(LAST.equal_cost) : el("p", { class: "faint small" }, "No finals were held: on items that it was not chosen by the best is likely to do worse."));
}

function equalCost(row) {
  if (!row || row.difference === null) return el("p", { class: "faint small" }, "There is no plain vote to hold it against.");
  return el("div", { class: "against" },
    el("p", {}, el("b", {}, `${points(row.difference)} points`), ` on the test against a vote over ${plural(row.drafts, "draft")} at the same cost`),
    responsive(el("div", { class: "canvas" }), (width) =>
      differenceBar(width, row.difference, row.interval, Math.max(0.05, Math.abs(row.interval[0]), Math.abs(row.interval[1])) * 1.1)),
    el("p", { class: "faint small" }, `95 % interval ${interval(row.interval, points)}, p ${probability(row.p_value)}, ${plural(row.num_items, "item")} in pairs; ${count(row.cost_tokens)} and ${count(row.vote_cost_tokens)} tokens an answer`));
}

function studyFigures() {
  const { tokens, outcomes } = DATA;
  const leader = leading();
  const less = tokens.generated_tokens ? tokens.without_both_tokens / tokens.generated_tokens : null;
  const parts = ["whole", "stopped", "repeated", "rejected", "failed"].filter((name) => outcomes[name]).map((name) => `${count(outcomes[name])} ${name}`);
  return el("div", { class: "figures" },
    figure(count(DATA.num_trials), "trials", parts.join(", ")),
    figure(count(tokens.generated_tokens), "tokens decoded in trials", less && `without pool and stopping ${count(tokens.without_both_tokens)}, ${decimal(less, 1)} times as many`),
    figure(count(DATA.space.num_points), "points in the space", DATA.space.num_points === null ? "more than can be counted" : null),
    leader && figure(count(leader.tokens), `tokens an answer of trial ${leader.number}`, `${seconds(leader.seconds)} an answer`));
}

function studyFacts() {
  const limits = Object.entries(DATA.limits).map(([name, limit]) => `${limit} ${name}`);
  const models = Object.entries(DATA.models).map(([role, model]) => `${model} (${role})`);
  return [
    ["sought", DATA.objectives.map(([name, more]) => `${more ? "more" : "less"} ${name}`).join(", ")],
    ["limits", limits.join(", ")],
    ["items of the search", count(DATA.num_items)],
    ["models put in", models.join(", ")],
    ["seed", DATA.seed],
    ["study", DATA.name],
    ["storage", DATA.storage],
    ["finals ended", LAST && date(LAST.end_time)],
  ].filter(([, value]) => value !== "" && value !== null);
}

// Finals before the last: what was tested then, and is no longer unseen.
function earlierFinals() {
  const earlier = DATA.finals.slice(1);
  if (!earlier.length) return null;
  return el("details", { class: "fold" },
    el("summary", {}, `Earlier finals (${earlier.length})`),
    el("div", { class: "fold-body scroll" }, el("table", { class: "small-table numbers" },
      el("thead", {}, el("tr", {}, ["Ended", "Trials", "Winner", "Select", "Test", "Against a vote"].map((text) => el("th", { scope: "col" }, text)))),
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
