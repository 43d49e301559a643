// The page of one item: the question, its answer, and the steps in between.

function addressOf(item, run = state.run, epoch = 0) {
  const parts = [`item=${encodeURIComponent(wellFormed(item.id))}`];
  if (run) parts.push(`run=${run}`);
  if (epoch) parts.push(`epoch=${epoch}`);
  return `#${parts.join("&")}`;
}

function openItem(item, run, epoch) {
  if (!document.getElementById("overview").hidden) state.scroll = scrollY;
  location.hash = addressOf(item, run, epoch);
}

function closeItem() {
  location.hash = "";
}

function rowOf(item) {
  const rows = item.answers[state.run];
  return rows.find((row) => row.epoch === state.epoch) ?? rows[0];
}

async function drawItem(item) {
  const page = document.getElementById("item");
  const row = rowOf(item);
  page.replaceChildren(itemHead(item, row));
  if (!row) {
    page.append(el("p", { class: "notice" }, "This run has no answer to this item."));
    return;
  }
  const answer = await answerOf(row);
  if (state.item !== item || rowOf(item) !== row) return;
  page.append(questionCards(item, row, answer));
  if (SEVERAL) page.append(answersOfRuns(item));
  if (answer.trace) page.append(...traceSections(answer, row));
  refreshPreferencesBar();
}

function itemHead(item, row) {
  const list = table.items.includes(item) ? table.items : DATA.items;
  const index = list.indexOf(item);
  const go = (steps, symbol, label) => el("button", {
    "aria-label": label, title: label, disabled: !list[index + steps], onclick: () => stepItem(steps),
  }, symbol);
  return el("header", { class: "item-head" },
    el("div", { class: "item-bar" },
      el("button", { class: "back", onclick: closeItem }, "← All items"),
      el("span", { class: "faint" }, `${count(index + 1)} of ${count(list.length)}`),
      el("div", { class: "steps" }, go(-1, "↑", "Previous item (k)"), go(1, "↓", "Next item (j)")),
      preferencesBar()),
    el("h1", { class: "item-title" }, brief(item.id, {}, 200), " ", row && outcomeMark(row.outcome)),
    SEVERAL && runTabs((run) => openItem(item, run, state.epoch)),
    item.answers[state.run].length > 1 && el("div", { class: "tabs", role: "group", "aria-label": "Epoch" }, item.answers[state.run].map((other) =>
      el("button", { class: "tab", "aria-pressed": String(other === row), onclick: () => openItem(item, state.run, other.epoch) },
        `Epoch ${other.epoch} `, outcomeMark(other.outcome)))));
}

function stepItem(steps) {
  const list = table.items.includes(state.item) ? table.items : DATA.items;
  const next = list[list.indexOf(state.item) + steps];
  if (!next) return;
  if (list === table.items) table.cursor = list.indexOf(next);
  openItem(next, state.run, state.epoch);
}

function questionCards(item, row, answer) {
  const entries = [
    ["target", answer.target],
    ["answer", answer.value ?? (answer.error ? "failed" : "no value")],
    answer.explanation && answer.explanation !== "failed" && ["scorer", answer.explanation],
    ["cost", `${count(row.cost)} tokens`],
    ["time", seconds(row.seconds)],
    ["calls", count(answer.usage.calls)],
    row.agreement !== null && ["agreement", percent(row.agreement, 0)],
  ].filter(Boolean);
  return el("div", { class: "question-cards" },
    el("section", { class: "card", "aria-labelledby": "question-title" }, el("h2", { id: "question-title", class: "small-title" }, "Question"), prose(answer.text_of(answer.question), { class: "question-text" })),
    el("section", { class: "card", "aria-labelledby": "result-title" },
      el("h2", { id: "result-title", class: "small-title" }, "Answer"),
      el("p", { class: `verdict-line ${row.outcome}` }, outcomeMark(row.outcome), " ", OUTCOMES[row.outcome].name,
        partialScore(row.score) && `, scored ${partialScore(row.score)}`,
        row.outcome === "wrong" && row.some_right ? ", although a candidate was right" : ""),
      answer.error && prose(answer.error, { class: "error-text" }),
      facts(entries),
      answer.text !== null && lazy("Full text of the answer", () => prose(answer.text_of(answer.text)))));
}

function answersOfRuns(item) {
  return section("answers", "Answers of all runs", el("div", { class: "card scroll" }, el("table", { class: "small-table runs-of-item" },
    el("thead", {}, el("tr", {}, ["Run", "Answer", "Tokens", "Time"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, DATA.runs.map((run, index) => el("tr", {},
      el("th", { scope: "row" }, el("a", { href: addressOf(item, index) }, words(run.name))),
      el("td", {}, answerCell(item.answers[index])),
      el("td", { class: "number" }, count(mean(item.answers[index], "cost"))),
      el("td", { class: "number" }, seconds(mean(item.answers[index], "seconds")))))))));
}

function traceSections(answer, row) {
  const { trace } = answer;
  return [
    section("flow", "How the answer came about",
      el("p", { class: "faint small" }, "Select a candidate to see its text, its parents, and what each node did with it."),
      explorable(answer, trace, DATA.runs[state.run].nodes)),
    section("calls", "Every prompt and completion", drawCalls(answer, trace)),
    section("ranking", "Which do you prefer?", el("div", { class: "card" }, drawRanking(answer, row))),
  ];
}

function nestedNodes(architecture) {
  return DATA.runs[state.run].nested[architecture];
}
