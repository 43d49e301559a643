// The items: possibly thousands of rows, of which only the visible ones are in the document.

const table = { items: [], cursor: -1, sort: "id", down: false, first: -1, last: -1 };

const mean = (rows, key) => {
  const known = rows.filter((row) => row[key] !== null);
  return known.length ? known.reduce((sum, row) => sum + row[key], 0) / known.length : null;
};
// Ids of one benchmark differ at their ends.
const shortened = (id) => id.length > 19 ? `${id.slice(0, 8)}…${id.slice(-9)}` : id;
const focused = (item) => item.answers[state.run];

function answerCell(rows) {
  if (!rows.length) return el("span", { class: "faint" }, "–");
  return [
    el("span", { class: "marks" }, rows.map((row) => [outcomeMark(row.outcome), partialScore(row.score) && el("span", { class: "faint small" }, partialScore(row.score))])),
    [...new Set(rows.map((row) => row.answer))].map((answer, index) => [index ? " · " : "",
      words(answer ?? (rows.every((row) => row.outcome === "failed") ? "failed" : "no value"), { class: answer === null ? "value faint" : "value" })]),
  ];
}

function columns() {
  const head = [
    { key: "id", name: "Item", kind: "id", value: (item) => item.index, cell: (item) => el("a", { href: addressOf(item), title: item.id, tabindex: item === table.items[Math.max(table.cursor, 0)] ? "0" : "-1" }, words(shortened(item.id))) },
    { key: "question", name: "Question", kind: "question", value: (item) => item.question, cell: (item) => words(item.question.replace(/\s+/g, " ")) },
    { key: "target", name: "Target", kind: "target", value: (item) => naturalKey(item.target), cell: (item) => words(item.target) },
  ];
  if (SEVERAL) {
    return [...head, ...DATA.runs.map((run, index) => ({
      key: `run-${index}`, name: run.name, kind: "answer", value: (item) => rightShare(item.answers[index]) ?? -1, cell: (item) => answerCell(item.answers[index]),
    }))];
  }
  return [...head,
    { key: "answer", name: "Answer", kind: "answer", value: (item) => rightShare(focused(item)) ?? -1, cell: (item) => answerCell(focused(item)) },
    { key: "agreement", name: "Agreement", kind: "number", value: (item) => mean(focused(item), "agreement") ?? -1, cell: (item) => percent(mean(focused(item), "agreement"), 0) },
    { key: "cost", name: "Tokens", kind: "number", value: (item) => mean(focused(item), "cost") ?? -1, cell: (item) => count(mean(focused(item), "cost")) },
    { key: "seconds", name: "Time", kind: "number", value: (item) => mean(focused(item), "seconds") ?? -1, cell: (item) => seconds(mean(focused(item), "seconds")) },
  ];
}

function naturalKey(text) {
  const number = Number(text);
  return text !== "" && Number.isFinite(number) ? number : Infinity;
}

function drawItems() {
  const wide = columns();
  const head = el("tr", {}, wide.map((column) => el("th", { scope: "col", class: column.kind, "data-key": column.key },
    el("button", { class: "plain", onclick: () => sortBy(column.key) }, words(column.name), el("span", { class: "arrow", "aria-hidden": "true" })))));
  return el("section", { class: "section", id: "items", "aria-labelledby": "items-title" },
    el("div", { class: "section-head" }, el("h2", { id: "items-title" }, "Items"), el("span", { class: "faint", id: "items-count", role: "status" }), preferencesBar()),
    el("div", { id: "filters" }),
    el("div", { class: "card table-card" }, el("table", { class: `items ${SEVERAL ? "several" : ""}`, "aria-label": "Items" },
      el("thead", {}, head), el("tbody", { id: "rows" }))),
    el("p", { class: "faint small keys" }, el("kbd", {}, "j"), " ", el("kbd", {}, "k"), " move, ", el("kbd", {}, "Enter"), " opens, ", el("kbd", {}, "/"), " filters, ", el("kbd", {}, "?"), " shows all shortcuts"));
}

function sortBy(key) {
  table.down = table.sort === key ? !table.down : false;
  table.sort = key;
  refreshItems();
}

// Filter, sort and redraw.
function refreshItems() {
  const box = document.getElementById("filters");
  const typing = document.activeElement?.id === "search";
  const search = box.querySelector("#search");
  if (!typing || !search) box.replaceChildren(drawFilters());
  else {
    box.querySelector(".chips").replaceWith(drawFilters().querySelector(".chips"));
  }
  const column = columns().find(({ key }) => key === table.sort);
  const keyed = filtered().map((item) => [column.value(item), item]);
  const order = table.down ? -1 : 1;
  keyed.sort(([a, first], [b, second]) => (a < b ? -order : a > b ? order : first.index - second.index));
  table.items = keyed.map(([, item]) => item);
  table.cursor = table.items.length ? Math.min(Math.max(table.cursor, -1), table.items.length - 1) : -1;
  document.getElementById("items-count").textContent = table.items.length === DATA.items.length
    ? count(DATA.items.length) : `${count(table.items.length)} of ${count(DATA.items.length)}`;
  for (const head of document.querySelectorAll("table.items th")) {
    const sorted = head.dataset.key === table.sort;
    head.setAttribute("aria-sort", sorted ? (table.down ? "descending" : "ascending") : "none");
    head.querySelector(".arrow").textContent = sorted ? (table.down ? "↓" : "↑") : "";
  }
  document.querySelector("table.items").setAttribute("aria-rowcount", String(table.items.length + 1));
  drawRows(true);
}

function rowHeight() {
  return matchMedia("(max-width: 700px)").matches ? (SEVERAL ? 68 + 26 * DATA.runs.length : 92) : 42;
}

function drawRows(force = false, atLeast = 60) {
  const body = document.getElementById("rows");
  if (!body || document.getElementById("overview").hidden) return;
  const height = rowHeight();
  const top = body.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(-top / height) - 30);
  const last = Math.min(table.items.length, Math.max(first + atLeast, Math.ceil((innerHeight - top) / height) + 30));
  if (!force && first === table.first && last === table.last) return;
  Object.assign(table, { first, last });
  if (!table.items.length) {
    body.replaceChildren(el("tr", { class: "none" }, el("td", { colspan: columns().length }, "No items match. ",
      el("button", { class: "plain more", onclick: () => { Object.assign(filter, { text: "", outcome: "all", node: null }); refreshItems(); } }, "Show all"))));
    return;
  }
  const shownColumns = columns();
  const rows = [];
  for (let index = first; index < last; index += 1) rows.push(drawRow(index, shownColumns));
  body.replaceChildren(spacer(first * height), ...rows, spacer((table.items.length - Math.max(first, last)) * height));
}

function spacer(height) {
  const row = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td"));
  row.style.height = `${Math.max(0, height)}px`;
  return row;
}

function drawRow(index, shownColumns) {
  const item = table.items[index];
  return el("tr", {
    class: `row ${index === table.cursor ? "cursor" : ""}`, "aria-rowindex": index + 2, "data-index": index,
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || getSelection()?.toString()) return;
      event.preventDefault();
      table.cursor = index;
      openItem(item);
    },
  }, shownColumns.map((column) => el("td", { class: column.kind, "data-name": shown(clip(column.name, 24)) }, column.cell(item))));
}

function moveCursor(steps) {
  if (!table.items.length) return;
  table.cursor = Math.min(Math.max(table.cursor + steps, 0), table.items.length - 1);
  const body = document.getElementById("rows");
  const height = rowHeight();
  const top = body.getBoundingClientRect().top + table.cursor * height;
  const head = 60;
  if (top < head || top + height > innerHeight - 20) scrollBy({ top: top - innerHeight / 2 });
  drawRows(true);
  announce(`${shown(table.items[table.cursor].id)}, ${focused(table.items[table.cursor]).map((row) => row.outcome).join(", ")}`);
}
