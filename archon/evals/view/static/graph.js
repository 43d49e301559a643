// The architecture as a graph: stages in layers from the question to the answer, with figures.

function drawGraph() {
  const box = el("div", { class: "graph-box" });
  const tabs = el("div");
  const draw = () => {
    tabs.replaceChildren(SEVERAL ? runTabs(lookAtRun) : "");
    box.replaceChildren(graphOf(state.run), nodePanel(state.run));
  };
  drawGraph.again = draw;
  draw();
  return section("graph", "Architecture", tabs, box);
}

// Show the architecture, the figures and the outcomes of another run.
function lookAtRun(run) {
  state.run = run;
  state.node = null;
  filter.node = null;
  drawGraph.again();
  refreshItems();
}

function runTabs(choose) {
  const tabs = DATA.runs.map((run, index) => el("button", {
    class: "tab",
    "aria-pressed": String(index === state.run),
    onclick: () => {
      tabs.forEach((tab, other) => tab.setAttribute("aria-pressed", String(other === index)));
      choose(index);
    },
  }, words(run.name)));
  return el("div", { class: "tabs", role: "group", "aria-label": "Run" }, tabs);
}

function graphOf(index) {
  const run = DATA.runs[index];
  const total = run.tallies.reduce((sum, entry) => sum + entry.completion_tokens, 0);
  return drawnStages(run.nodes, run.output, (stage, isOutput) => stageCard(index, stage, total, isOutput));
}

function stageCard(index, stage, total, isOutput) {
  const sum = tally(index, stage.names);
  const { node, names } = stage;
  const kind = stageKind(stage);
  const keeps = node.keep ?? node.keep_first;
  const answers = sum.runs / names.length || 0;
  const share = total ? sum.completion_tokens / total : 0;
  const bar = el("span", { class: "share", title: `${percent(share, 0)} of all completion tokens` }, el("span", {}));
  bar.firstChild.style.width = `${100 * share}%`;
  return el("button", {
    class: `node ${names.length > 1 ? "stack" : ""} ${stage.names.includes(state.node) ? "chosen" : ""}`,
    "aria-pressed": String(names.includes(state.node)),
    onclick: (event) => chooseNode(names.includes(state.node) ? null : names[0], event.currentTarget),
  },
    el("span", { class: "node-head" }, words(stage.title, { class: "node-name" }), isOutput && el("span", { class: "tag" }, "answer")),
    el("span", { class: "node-kind" }, kind, keeps ? `, keeps ${keeps}` : "", node.when ? `, when ${Object.entries(node.when).filter(([, value]) => value !== null).map(([key, value]) => `${key.replaceAll("_", " ")} ${value}`)}` : ""),
    answers > 0 && el("span", { class: "node-facts" },
      node.model && nodeFact("tokens", count(sum.completion_tokens / answers)),
      nodeFact("time", seconds(sum.seconds / sum.runs)),
      sum.written > 0 && nodeFact("samples right", percent(sum.right / sum.written, 0)),
      sum.dropped > 0 && nodeFact("drops", score(sum.dropped / answers)),
      sum.led > 0 && nodeFact("changed", [percent(sum.changed / sum.led, 0), helpedHurt(sum)], "how often the node changes the value of the leading candidate")),
    total > 0 && node.model && bar);
}

function nodeFact(name, value, title) {
  return el("span", { class: "node-fact", title }, name, el("b", {}, value));
}

function helpedHurt(sum) {
  if (!sum.helped && !sum.hurt) return null;
  return el("span", { class: "swing" }, " ",
    el("span", { class: "right", title: "from wrong to right" }, `▲${count(sum.helped)}`), " ",
    el("span", { class: "wrong", title: "from right to wrong" }, `▼${count(sum.hurt)}`));
}

function chooseNode(name) {
  state.node = name;
  const box = document.querySelector(".graph-box");
  const names = name ? stagesOf(DATA.runs[state.run].nodes).stageOf.get(name).names : [];
  for (const card of box.querySelectorAll(".node")) {
    const chosen = names.length > 0 && card.querySelector(".node-name").textContent === shown(stagesOf(DATA.runs[state.run].nodes).stageOf.get(name).title);
    card.classList.toggle("chosen", chosen);
    card.setAttribute("aria-pressed", String(chosen));
  }
  box.querySelector(".node-panel").replaceWith(nodePanel(state.run));
}

// Figures of the selected stage, and the ablations of the architecture.
function nodePanel(index) {
  const run = DATA.runs[index];
  const ablations = run.report.ablations ?? [];
  const panel = el("div", { class: "node-panel" });
  if (state.node) panel.append(stagePanel(index, stagesOf(run.nodes).stageOf.get(state.node)));
  else if (!ablations.length) panel.append(el("p", { class: "faint small" }, "Select a node to see its figures and the answers it changed."));
  if (ablations.length) panel.append(ablationTable(ablations));
  return panel;
}

function stagePanel(index, stage) {
  const { node, names } = stage;
  const run = DATA.runs[index];
  const sampling = Object.entries(node.sampling ?? {}).filter(([, value]) => value !== null);
  const prompt = Object.entries(node.prompt ?? {}).filter(([, value]) => value !== null);
  const changed = DATA.rows[index].filter((row) => row.changed.some((name) => names.includes(name))).length;
  const entries = [
    ["type", node.type],
    node.model && ["model", `${run.report.models?.[node.model] ?? "–"} (${node.model})`],
    ["reads", (node.inputs ?? []).join(", ") || "the question"],
    ...parameters(node),
    sampling.length && ["sampling", sampling.map(([key, value]) => `${key} ${value}`).join(", ")],
    prompt.length && ["prompt", prompt.map(([key, value]) => `${key} ${typeof value === "string" ? clip(value, 200) : JSON.stringify(value)}`).join(", ")],
  ].filter(Boolean);
  const rows = names.map((name) => ({ name, ...tally(index, [name]) }));
  return el("div", { class: "card" },
    el("h3", {}, words(stage.title)),
    facts(entries),
    el("div", { class: "scroll" }, el("table", { class: "small-table numbers" },
      el("thead", {}, el("tr", {}, ["Node", "Calls", "Prompt tokens", "Completion tokens", "Time", "Read", "Passed on", "Dropped", "Changed", "Helped", "Hurt", "Bypassed"].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, rows.map((row) => el("tr", {},
        el("th", { scope: "row" }, words(row.name)),
        [row.calls, row.prompt_tokens, row.completion_tokens].map((value) => el("td", { class: "number" }, count(row.runs ? value / row.runs : null))),
        el("td", { class: "number" }, seconds(row.runs ? row.seconds / row.runs : null)),
        [row.read, row.passed, row.dropped].map((value) => el("td", { class: "number" }, row.runs ? score(value / row.runs) : "–")),
        el("td", { class: "number" }, `${count(row.changed)} of ${count(row.led)}`),
        [row.helped, row.hurt, row.bypassed].map((value) => el("td", { class: "number" }, count(value)))))))),
    el("p", { class: "faint small" }, "Means per answer, except for the last four columns, which count answers. A node changes an answer if the leading candidate has another value after the node than before it."),
    changed > 0 && el("button", { onclick: () => showItems({ node: stage.title, names }) }, `Show the ${plural(changed, "answer")} it changed`));
}

function ablationTable(ablations) {
  return el("div", { class: "card" },
    el("h3", {}, "Ablation of each node"),
    el("p", { class: "faint small" }, "The architecture with one node bypassed, on the same samples. The difference is the gain from the node."),
    el("div", { class: "scroll" }, el("table", { class: "small-table numbers" },
      el("thead", {}, el("tr", {}, ["Without", "Accuracy", "Difference", "95% interval", "p", "Tokens per answer", "Tokens saved"].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, ablations.map((row) => el("tr", {},
        el("th", { scope: "row" }, words(row.node)),
        el("td", { class: "number" }, percent(row.accuracy)),
        el("td", { class: "number" }, typeof row.difference === "number" ? points(row.difference) : "–"),
        el("td", { class: "number" }, interval(row.interval, points)),
        el("td", { class: "number" }, probability(row.p_value_adjusted ?? row.p_value)),
        el("td", { class: "number" }, count(row.cost_tokens)),
        el("td", { class: "number" }, count(row.extra_cost_tokens))))))));
}
