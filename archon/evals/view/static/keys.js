// Keyboard shortcuts, and the help that lists them.

const KEYS = [
  ["j  ↓", "next item"],
  ["k  ↑", "previous item"],
  ["Enter", "open the item"],
  ["Esc", "back to the items; leave the filter"],
  ["/", "filter by words"],
  ["g  G", "first item, last item"],
  ["e", "next epoch of an item"],
  ["r", "rank an item's candidates"],
  ["Alt ↑  Alt ↓", "move a ranked candidate"],
  ["?", "this help"],
];

function onKey(event) {
  const help = document.getElementById("help");
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const inField = event.target.closest("input, textarea, select");
  if (event.key === "Escape") {
    if (inField) inField.blur();
    else if (state.item) closeItem();
    return;
  }
  if (inField?.type === "search" && event.key === "Enter") {
    inField.blur();
    if (table.cursor < 0) moveCursor(1);
    return;
  }
  if (inField) return;
  const action = (state.item ? itemKeys : listKeys)[event.key] ?? commonKeys[event.key];
  if (!action) return;
  if (event.target.closest("button, a, summary") && ["Enter", "ArrowUp", "ArrowDown"].includes(event.key)) return;
  event.preventDefault();
  action();
}

const commonKeys = { "?": showHelp };

const listKeys = {
  j: () => moveCursor(1),
  k: () => moveCursor(-1),
  ArrowDown: () => moveCursor(1),
  ArrowUp: () => moveCursor(-1),
  g: () => moveCursor(-Infinity),
  G: () => moveCursor(Infinity),
  Enter: () => table.items[table.cursor] && openItem(table.items[table.cursor]),
  "/": () => {
    const search = document.getElementById("search");
    search.focus();
    search.select();
  },
};

const itemKeys = {
  j: () => stepItem(1),
  k: () => stepItem(-1),
  e: () => {
    const rows = state.item.answers[state.run];
    openItem(state.item, state.run, rows[(rows.indexOf(rowOf(state.item)) + 1) % rows.length].epoch);
  },
  r: () => {
    const ranking = document.querySelector(".ranking");
    ranking?.scrollIntoView({ block: "start" });
    ranking?.querySelector("button")?.focus();
  },
};

function showHelp() {
  const help = document.getElementById("help");
  help.replaceChildren(
    el("h2", { id: "help-title" }, "Keyboard shortcuts"),
    el("dl", { class: "key-list" }, KEYS.map(([key, what]) => el("div", {}, el("dt", {}, key.split("  ").map((one) => el("kbd", {}, one))), el("dd", {}, what)))),
    el("form", { method: "dialog" }, el("button", { onclick: (event) => { event.preventDefault(); help.close(); } }, "Close")));
  help.showModal();
}
