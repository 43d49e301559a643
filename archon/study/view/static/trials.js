// All trials in a table that can be sorted.

const COLUMNS = [
  { name: "Trial", value: (trial) => trial.number, shows: (trial) => String(trial.number) },
  { name: "Outcome", value: (trial) => trial.outcome, shows: outcome, isText: true },
  { name: "Accuracy", value: (trial) => trial.accuracy, shows: (trial) => (trial.num_items ? [percent(trial.accuracy), el("span", { class: "below" }, `${interval(trial.interval)}%, ${plural(trial.num_items, "item")}`)] : "–") },
  { name: "Tokens", value: (trial) => trial.tokens, shows: (trial) => count(trial.tokens) },
  { name: "Time", value: (trial) => trial.seconds, shows: (trial) => seconds(trial.seconds) },
  { name: "Choices", value: (trial) => choices(trial.point), shows: (trial) => words(choices(trial.point)), isText: true },
  { name: "Run", value: (trial) => trial.run?.path, shows: (trial) => (trial.run ? runLink(trial.run, "run") : "–"), isText: true },
];

function outcome(trial) {
  return [trial.number === WINNER ? el("b", {}, "winner") : TRIAL_OUTCOMES[trial.outcome], !trial.is_feasible && trial.outcome !== "rejected" && ", above a limit",
    trial.reason && el("span", { class: "below" }, brief(trial.reason, {}, 160))];
}

function drawTrials() {
  if (!DATA.trials.length) return null;
  const body = el("tbody");
  let sorted = { column: COLUMNS[0], down: false };
  const draw = () => {
    const { column, down } = sorted;
    const rank = (trial) => column.value(trial) ?? null;
    const rows = [...DATA.trials].sort((a, b) => {
      const [one, other] = [rank(a), rank(b)];
      if (one === null || other === null) return (one === null) - (other === null);
      return (one < other ? -1 : one > other ? 1 : a.number - b.number) * (down ? -1 : 1);
    });
    body.replaceChildren(...rows.map(trialRow));
    heads.forEach((head, index) => head.setAttribute("aria-sort", COLUMNS[index] !== column ? "none" : down ? "descending" : "ascending"));
  };
  const heads = COLUMNS.map((column) => el("th", { scope: "col", class: column.isText ? null : "number" },
    el("button", {
      class: "plain",
      onclick: () => {
        sorted = { column, down: sorted.column === column ? !sorted.down : column.name === "Accuracy" };
        draw();
      },
    }, column.name)));
  draw();
  return section("trials", "All trials",
    el("div", { class: "card scroll" }, el("table", { class: "small-table trials" }, el("thead", {}, el("tr", {}, heads)), body)));
}

function trialRow(trial) {
  return el("tr", { id: `trial-${trial.number}`, class: trial.outcome === "whole" && trial.is_feasible ? null : "lesser" },
    COLUMNS.map((column) => el("td", { class: column.isText ? null : "number" }, column.shows(trial))));
}
