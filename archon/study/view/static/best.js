// The best architectures as graphs, with their files.

const WHY = { winner: "winner", front: "on the front", next: "next best" };

function drawBest() {
  if (!DATA.architectures.length) return null;
  const box = el("div");
  const tabs = DATA.architectures.map((drawn, index) => el("button", {
    class: "tab",
    "aria-pressed": String(index === 0),
    onclick: (event) => {
      for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab === event.currentTarget));
      box.replaceChildren(architecture(drawn));
    },
  }, `trial ${drawn.trial}`, el("span", { class: "faint" }, WHY[drawn.why])));
  box.append(architecture(DATA.architectures[0]));
  return section("best", "Best architectures", el("div", { class: "tabs", role: "group", "aria-label": "Architecture" }, tabs), box);
}

function architecture({ trial: number, why, file }) {
  const trial = TRIALS.get(number);
  const text = `${JSON.stringify(file, null, 2)}\n`;
  return el("div", { class: "card" },
    el("p", { class: "small" }, `${percent(trial.accuracy)} of ${plural(trial.num_items, "search item")}, ${count(trial.tokens)} tokens and ${seconds(trial.seconds)} per answer`),
    el("p", { class: "faint small" }, words(choices(trial.point))),
    drawnStages(file.nodes, file.output, plainCard),
    el("p", { class: "small runs-of" }, runLinks(trial, why)),
    el("details", { class: "fold" },
      el("summary", {}, "Architecture file"),
      el("div", { class: "fold-body" }, el("button", { onclick: () => save(`${file.name}.json`, text) }, "Save"), prose(text, { fold: 1e9 }))));
}

function plainCard(stage, isOutput) {
  const { node } = stage;
  const sampling = Object.entries(node.sampling ?? {}).filter(([key]) => key !== "max_tokens" && key !== "top_p");
  const entries = [...parameters(node).filter(([key]) => key !== "samples"), ...Object.entries(node.prompt ?? {}), ...sampling];
  return el("div", { class: `node ${stage.names.length > 1 ? "stack" : ""}` },
    el("span", { class: "node-head" }, words(stage.title, { class: "node-name" }), isOutput && el("span", { class: "tag" }, "answer")),
    el("span", { class: "node-kind" }, stageKind(stage)),
    entries.length > 0 && el("span", { class: "node-facts" }, entries.map(([key, value]) =>
      el("span", { class: "node-fact" }, key, el("b", {}, brief(typeof value === "object" ? JSON.stringify(value) : value, {}, 40))))));
}

function runLinks(trial, why) {
  const runs = [["search", trial.run]];
  if (why === "winner") runs.push(["select", LAST.links.select], ["test", LAST.links.test]);
  else {
    const finalist = LAST?.finalists.find((one) => one.trial === trial.number);
    if (finalist) runs.push(["select", finalist.run]);
  }
  return ["Runs: ", runs.filter(([, run]) => run).map(([name, run], index) => [index > 0 && ", ", runLink(run, name)])];
}

// A link to the page of a run. Without a page, the folder of the run; the tooltip is the command that writes the page.
function runLink(run, text) {
  if (run.href) return el("a", { href: run.href, title: run.path }, text);
  const hint = run.is_here ? `no page yet: archon view ${run.path}` : "not on this machine";
  const place = run.is_here ? run.path.split(/[\\/]/).slice(-2).join("/") : run.path;
  return el("span", { class: "faint", title: hint }, `${text} (${place})`);
}

function save(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
