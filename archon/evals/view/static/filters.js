// Filters of the items: by words, by outcome, by the node that changed the answer.

const filter = { text: "", outcome: "all", node: null, names: [] };

const OUTCOME_FILTERS = {
  all: { name: "All", holds: () => true },
  right: { name: "Right", holds: (rows) => rows.length > 0 && rows.every((row) => row.outcome === "right") },
  wrong: { name: "Wrong", holds: (rows) => rows.some((row) => row.outcome === "wrong") },
  failed: { name: "Failed", holds: (rows) => rows.some((row) => row.outcome === "failed") },
  lost: { name: "Right candidate, wrong answer", holds: (rows) => rows.some((row) => row.outcome === "wrong" && row.some_right) },
  disagree: { name: "Samples disagree", holds: (rows) => rows.some((row) => row.agreement !== null && row.agreement < 1) },
  runs: { name: "Runs disagree", holds: (_, item) => new Set(item.answers.filter((rows) => rows.length).map(rightShare)).size > 1 },
};

function rightShare(rows) {
  return rows.length ? rows.filter((row) => row.outcome === "right").length / rows.length : null;
}

function haystack(item) {
  item.haystack ??= [item.id, item.question, item.target, ...item.answers.flat().map((row) => row.answer ?? "")].join("\n").toLowerCase();
  return item.haystack;
}

function filtered() {
  const needles = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const { holds } = OUTCOME_FILTERS[filter.outcome];
  return DATA.items.filter((item) => {
    const rows = item.answers[state.run];
    return holds(rows, item)
      && (!filter.node || rows.some((row) => row.changed.some((name) => filter.names.includes(name))))
      && needles.every((needle) => haystack(item).includes(needle));
  });
}

const countsOfRun = new Map();

function outcomeCounts() {
  if (!countsOfRun.has(state.run)) countsOfRun.set(state.run, countOutcomes());
  return countsOfRun.get(state.run);
}

function countOutcomes() {
  return Object.fromEntries(Object.entries(OUTCOME_FILTERS).map(([key, { holds }]) =>
    [key, DATA.items.filter((item) => holds(item.answers[state.run], item)).length]));
}

function drawFilters() {
  const search = el("input", {
    type: "search", id: "search", placeholder: "Filter by words", "aria-label": "Filter items by words", autocomplete: "off", spellcheck: "false",
    oninput: () => { filter.text = search.value; refreshItems(); },
  });
  const counts = outcomeCounts();
  const buttons = Object.entries(OUTCOME_FILTERS)
    .filter(([key]) => key === "all" || counts[key] > 0)
    .filter(([key]) => SEVERAL || key !== "runs")
    .map(([key, { name }]) => el("button", {
      class: "chip", "data-outcome": key, "aria-pressed": String(filter.outcome === key),
      onclick: () => { filter.outcome = key; refreshItems(); },
    }, name, el("span", { class: "chip-count" }, count(counts[key]))));
  const node = filter.node && el("button", {
    class: "chip", "aria-pressed": "true", "aria-label": `Changed by ${shown(filter.node)}; remove this filter`,
    onclick: () => { filter.node = null; refreshItems(); },
  }, "changed by ", words(filter.node), " ×");
  search.value = filter.text;
  return el("div", { class: "filters" }, search, el("div", { class: "chips", role: "group", "aria-label": "Outcome" }, SEVERAL && runMenu(), buttons, node), sortMenu());
}

function runMenu() {
  const menu = el("select", { "aria-label": "Outcomes of", onchange: () => lookAtRun(Number(menu.value)) }, DATA.runs.map((run, index) =>
    el("option", { value: index, selected: index === state.run }, shown(clip(run.name, 32)))));
  return el("label", { class: "of-run" }, "Outcomes of ", menu);
}

// A menu for sorting, where the screen is too narrow for column headings.
function sortMenu() {
  const menu = el("select", { onchange: () => sortBy(menu.value) }, columns().map((column) =>
    el("option", { value: column.key, selected: column.key === table.sort }, shown(clip(column.name, 32)))));
  return el("label", { class: "sorting" }, "Sort by ", menu);
}

// Filter the items and bring them into view.
function showItems({ outcome = "all", node = null, names = [] }) {
  Object.assign(filter, { outcome, node, names });
  refreshItems();
  document.getElementById("items").scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
}
