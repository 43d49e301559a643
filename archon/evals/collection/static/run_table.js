// The table of runs with its filters.

const BAR_WIDTH = 130;

function drawRuns() {
  const search = el("input", {
    type: "search", id: "search", placeholder: "Filter by words", "aria-label": "Filter runs by words", autocomplete: "off", spellcheck: "false",
    oninput: () => { view.text = search.value; refreshRuns(); },
  });
  search.value = view.text;
  return el("section", { class: "section", id: "runs", "aria-labelledby": "runs-title" },
    el("div", { class: "section-head" }, el("h2", { id: "runs-title" }, "Runs"), el("span", { class: "faint", id: "runs-count", role: "status" })),
    el("div", { class: "filters" }, search, el("div", { class: "chips", id: "states", role: "group", "aria-label": "State" }), groupMenu(), sortMenu()),
    el("div", { class: "card table-card" }, el("table", { class: "collection", "aria-label": "Runs" },
      el("thead", {}, el("tr", {},
        el("th", { scope: "col", class: "choose" }, el("span", { class: "unseen" }, "Compare")),
        Object.entries(RUN_COLUMNS).map(([key, column]) => el("th", { scope: "col", class: `${key} ${column.isNumber ? "number" : ""}`, "data-key": key },
          el("button", { class: "plain", onclick: () => sortBy(key) }, column.name, el("span", { class: "arrow", "aria-hidden": "true" })))))),
      el("tbody", { id: "rows" }))));
}

function groupMenu() {
  const groups = [...new Set(DATA.runs.map(groupOf).filter(Boolean))].sort();
  const menu = el("select", { id: "group", "aria-label": "Benchmark", onchange: () => { view.group = menu.value; refreshRuns(); } },
    el("option", { value: "" }, "All benchmarks"),
    groups.map((group) => el("option", { value: group, selected: group === view.group }, shown(clip(group, 40)))));
  return menu;
}

// A menu for sorting, where the screen is too narrow for column headings.
function sortMenu() {
  const menu = el("select", { onchange: () => { view.sort = menu.value; view.down = Boolean(RUN_COLUMNS[menu.value].isNumber); refreshRuns(); } },
    Object.entries(RUN_COLUMNS).map(([key, column]) => el("option", { value: key, selected: key === view.sort }, column.name)));
  return el("label", { class: "sorting" }, "Sort by ", menu);
}

function stateChips() {
  const counts = { all: DATA.runs.length };
  for (const run of DATA.runs) counts[run.state] = (counts[run.state] ?? 0) + 1;
  if (view.state !== "all" && !counts[view.state]) view.state = "all";
  return ["all", ...Object.keys(STATE_NAMES)].filter((key) => counts[key] !== undefined).map((key) => el("button", {
    class: "chip", "data-state": key, "aria-pressed": String(view.state === key),
    onclick: () => { view.state = key; refreshRuns(); },
  }, key === "all" ? "All" : STATE_NAMES[key], el("span", { class: "chip-count" }, count(counts[key]))));
}

function sortBy(key) {
  view.down = view.sort === key ? !view.down : Boolean(RUN_COLUMNS[key].isNumber);
  view.sort = key;
  refreshRuns();
}

// Filter, sort and redraw.
function refreshRuns() {
  const runs = visibleRuns();
  choices.clear();
  document.getElementById("states").replaceChildren(...stateChips());
  document.getElementById("runs-count").textContent = runs.length === DATA.runs.length
    ? count(runs.length) : `${count(runs.length)} of ${count(DATA.runs.length)}`;
  for (const head of document.querySelectorAll("table.collection th[data-key]")) {
    const sorted = head.dataset.key === view.sort;
    head.setAttribute("aria-sort", sorted ? (view.down ? "descending" : "ascending") : "none");
    head.querySelector(".arrow").textContent = sorted ? (view.down ? "↓" : "↑") : "";
  }
  const none = el("tr", { class: "none" }, el("td", { colspan: 9 }, DATA.runs.length ? "No runs match. " : "There is no run yet. ",
    DATA.runs.length > 0 && el("button", { class: "plain more", onclick: showAll }, "Show all")));
  document.getElementById("rows").replaceChildren(...(runs.length ? runs.map(runRow) : [none]));
  refreshChoices();
}

// The check boxes of the visible rows: path → [run, row, box].
const choices = new Map();

// Show what is selected and what can be, without replacing the rows, so that the focus stays.
function refreshChoices() {
  const [first] = selectedRuns();
  for (const [run, row, box] of choices.values()) {
    const why = whyNot(run, first);
    box.disabled = why !== null;
    box.title = why ?? "Select to compare";
    box.checked = selected.has(run.path);
    row.classList.toggle("chosen", box.checked);
  }
  refreshBar();
}

// The reason why a run cannot be selected, or null.
function whyNot(run, first) {
  if (run.state === "damaged") return "This run cannot be read";
  if (!run.marks?.length) return "This run has no answers yet";
  if (first && groupOf(first) !== groupOf(run)) return `Only runs on ${groupOf(first)} can be compared with the selected ones`;
  return null;
}

function showAll() {
  Object.assign(view, { text: "", state: "all", group: "" });
  document.getElementById("search").value = "";
  document.getElementById("group").value = "";
  refreshRuns();
}

function runRow(run) {
  const box = el("input", {
    type: "checkbox", "aria-label": `Compare ${shown(run.path)}`,
    onchange: () => { if (box.checked) selected.add(run.path); else selected.delete(run.path); refreshChoices(); },
  });
  const row = run.state === "damaged" ? damagedRow(run, box) : readableRow(run, box);
  choices.set(run.path, [run, row, box]);
  return row;
}

function damagedRow(run, box) {
  return el("tr", { class: "row damaged", "data-path": run.path }, el("td", { class: "choose" }, box),
    el("th", { scope: "row", class: "run" }, words(run.path)), el("td", { colspan: 7, class: "reason" }, brief(run.reason ?? "damaged", {}, 200)));
}

function readableRow(run, box) {
  return el("tr", { class: "row", "data-path": run.path },
    el("td", { class: "choose" }, box),
    el("th", { scope: "row", class: "run" }, runName(run), el("span", { class: "below" }, words(run.path))),
    el("td", { class: "models" }, words(modelNames(run))),
    el("td", { class: "benchmark" }, words(run.benchmark), el("span", { class: "below" }, words(run.split), run.seed !== 0 && `, seed ${run.seed}`)),
    el("td", { class: "size number", "data-name": "items" }, count(run.num_items), run.epochs > 1 && el("span", { class: "below" }, `× ${count(run.epochs)} epochs`)),
    el("td", { class: "accuracy number" }, accuracyCell(run)),
    el("td", { class: "cost number", "data-name": "tokens" }, count(run.cost_tokens)),
    el("td", { class: "date number" }, day(run.start_time)),
    el("td", { class: `state ${run.state}` }, stateText(run)));
}

function runName(run) {
  const name = words(run.architecture);
  if (!run.href) return el("span", { title: `archon view ${shown(run.path)} makes the page of this run` }, name);
  return el("a", { href: run.href }, name);
}

function accuracyCell(run) {
  if (run.accuracy === null) return "–";
  return el("div", { class: "measured" },
    shareBar(BAR_WIDTH, run.accuracy, run.accuracy_interval, { height: 22, axis: false }),
    el("span", { class: "share-number" }, el("b", {}, percent(run.accuracy)), el("span", { class: "below" }, interval(run.accuracy_interval))));
}

// A date in two lines, as narrow as possible.
function day(text) {
  const [date_, time] = date(text).split(", ");
  return [date_, time && el("span", { class: "below" }, time)];
}
