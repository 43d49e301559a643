// The candidates of one answer on their path through the nodes, with a lane per layer of nodes.

function lanesOf(trace, nodes) {
  const known = trace.nodes.every(({ node }) => nodes?.[node]);
  if (known) return stagesOf(nodes).lanes;
  // The page has no declaration of architectures nested deeper: list the nodes in their order.
  const stages = trace.nodes.map(({ node, type }) => ({ names: [node], type, title: node, inputs: [], node: {} }));
  stages.forEach((stage, index) => { stage.inputs = stages.slice(0, index).reverse(); });
  return stages.map((stage) => [stage]);
}

function drawFlow(trace, nodes, choose) {
  const parts = new Map(trace.nodes.map((part) => [part.node, part]));
  const chips = [];
  const outputs = new Map();
  const winner = parts.get(trace.output)?.outputs[0];
  const lanes = lanesOf(trace, nodes).map((lane) => el("div", { class: "flow-lane" }, lane.map((stage) => {
    const mine = stage.names.map((name) => parts.get(name)).filter(Boolean);
    outputs.set(stage, new Map());
    const chip = (part, candidate, drop) => {
      const answer = part.node === trace.output && candidate === winner && !drop;
      const button = candidateChip(trace, part, candidate, { drop, answer, choose });
      chips.push({ stage, candidate, button, drop });
      if (!drop) outputs.get(stage).set(candidate, button);
      return button;
    };
    const kept = mine.flatMap((part) => part.outputs.map((candidate) => chip(part, candidate, null)));
    const dropped = mine.flatMap((part) => part.drops.filter((drop) => !drop.fused).map((drop) => chip(part, drop.candidate, drop)));
    return el("div", { class: "flow-stage" },
      el("h3", { class: "flow-title" }, words(stage.title), el("span", { class: "faint" }, ` ${stage.type}`,
        mine.some((part) => part.bypassed) ? ", bypassed" : "")),
      el("div", { class: "flow-chips" }, kept),
      dropped.length > 0 && [el("p", { class: "flow-drop" }, `dropped ${dropped.length}`), el("div", { class: "flow-chips" }, dropped)]);
  })));
  const box = el("div", { class: "flow", role: "group", "aria-label": "Candidates by node" }, lanes);
  const links = flowLinks(trace, chips, outputs);
  let paths = [];
  let chosen = null;
  const mark = () => {
    const kin = chosen === null ? null : relativesOf(trace, chosen);
    for (const { candidate, button } of chips) {
      button.classList.toggle("chosen", candidate === chosen);
      button.classList.toggle("dim", kin !== null && !kin.has(candidate));
      button.setAttribute("aria-pressed", String(candidate === chosen));
    }
    paths.forEach((path, index) => {
      const { candidates: [a, b] } = links[index];
      path.classList.toggle("lit", kin !== null && kin.has(a) && kin.has(b));
      path.classList.toggle("dim", kin !== null && !(kin.has(a) && kin.has(b)));
    });
  };
  new ResizeObserver(() => {
    if (!box.clientWidth) return;
    const stacked = getComputedStyle(box).flexDirection === "column";
    box.querySelector(":scope > svg.wires")?.remove();
    paths = stacked ? [] : wires(box, links);
    mark();
  }).observe(box);
  const light = (candidate) => {
    chosen = candidate;
    mark();
  };
  return { box, light };
}

// The flow of a trace, and below it the selected candidate.
function explorable(answer, trace, nodes) {
  const detail = el("div", { "aria-live": "polite" });
  let chosen = null;
  const choose = (candidate) => {
    chosen = candidate === chosen ? null : candidate;
    flow.light(chosen);
    detail.replaceChildren(...(chosen === null ? [] : [drawCandidate(answer, trace, chosen, choose)]));
    if (chosen !== null) detail.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
  };
  const flow = drawFlow(trace, nodes, choose);
  return [flow.box, detail];
}

function flowLinks(trace, chips, outputs) {
  const links = [];
  for (const { stage, candidate, button, drop } of chips) {
    const { node, parents } = trace.candidates[candidate];
    const sources = stage.inputs.map((source) => outputs.get(source)).filter(Boolean);
    const own = stage.names.includes(node);
    for (const parent of own ? parents : [candidate]) {
      const from = sources.filter((found) => found.has(parent)).map((found) => found.get(parent));
      const first = own || from.length < 2 ? from.slice(0, 1) : from;
      for (const source of first) {
        links.push({ from: source, to: button, kind: drop ? "dropped" : own ? "parent" : "", candidates: [parent, candidate] });
      }
    }
  }
  return links;
}

// A candidate with all its ancestors and descendants.
function relativesOf(trace, candidate) {
  const kin = new Set([candidate]);
  const up = (one) => trace.candidates[one].parents.forEach((parent) => { if (!kin.has(parent)) { kin.add(parent); up(parent); } });
  up(candidate);
  const young = new Set([candidate]);
  trace.candidates.forEach(({ parents }, index) => {
    if (parents.some((parent) => young.has(parent))) { young.add(index); kin.add(index); }
  });
  return kin;
}

function candidateName({ node, draw }, trace) {
  const alone = trace.candidates.filter((other) => other.node === node).length === 1;
  return alone ? node : `${node} ${draw}`;
}

function candidateChip(trace, part, candidate, { drop, answer, choose }) {
  const data = trace.candidates[candidate];
  const notes = part.notes.filter((note) => note.candidate === candidate);
  // A verifier's score adds nothing to its verdict.
  const judged = notes.some((note) => note.kind === "verdict");
  const tags = notes.filter((note) => !(judged && note.kind === "score")).map(noteTag);
  const name = candidateName(data, trace);
  return el("button", {
    class: `candidate ${drop ? "dropped" : ""} ${answer ? "answer" : ""}`, "aria-pressed": "false",
    title: drop ? shown(drop.why) : null,
    onclick: () => choose(candidate),
  },
    rightness(data.right) ?? el("span", { class: "mark none", "aria-hidden": "true" }, "·"),
    brief(data.value ?? "no value", { class: `value ${data.value === null ? "faint" : ""}` }),
    words(name, { class: "who" }), tags, answer && el("span", { class: "tag" }, "answer"));
}

function noteTag(note) {
  if (note.kind === "score") return el("span", { class: "note-tag", title: "score" }, score(note.value));
  if (note.kind === "verdict") {
    return el("span", { class: `note-tag ${note.value}`, title: `verdict: ${note.value}` }, { pass: "pass", fail: "fail", abstain: "?" }[note.value] ?? shown(note.value));
  }
  if (note.kind === "critique") return el("span", { class: "note-tag", title: "has a critique" }, "✎");
  return el("span", { class: "note-tag", title: shown(note.value), role: "img", "aria-label": shown(note.value) }, "⚠");
}
