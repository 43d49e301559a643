// The stages of an architecture, drawn from the question to the answer.

// Nodes with the same type, inputs and readers are one stage, such as ten equal generators. The
// depth of a stage is the length of its longest path from the question.
function stagesOf(nodes) {
  const names = Object.keys(nodes);
  const readers = new Map(names.map((name) => [name, []]));
  for (const name of names) for (const source of nodes[name].inputs ?? []) readers.get(source)?.push(name);
  const depths = new Map();
  const depth = (name) => {
    if (!depths.has(name)) {
      depths.set(name, 0);
      const sources = (nodes[name].inputs ?? []).filter((source) => nodes[source]);
      depths.set(name, sources.length ? 1 + Math.max(...sources.map(depth)) : 0);
    }
    return depths.get(name);
  };
  const stages = new Map();
  for (const name of names) {
    const node = nodes[name];
    const key = JSON.stringify([node.type, node.inputs ?? [], readers.get(name), node.samples, node.keep, node.when, depth(name)]);
    if (!stages.has(key)) stages.set(key, { names: [], type: node.type, node, depth: depth(name) });
    stages.get(key).names.push(name);
  }
  const list = [...stages.values()];
  const stageOf = new Map(list.flatMap((stage) => stage.names.map((name) => [name, stage])));
  for (const stage of list) {
    stage.inputs = [...new Set((stage.node.inputs ?? []).map((name) => stageOf.get(name)).filter(Boolean))];
    stage.title = stage.names.length === 1 ? stage.names[0] : `${stage.names[0]} … ${stage.names.at(-1)}`;
  }
  const lanes = [];
  for (const stage of list) (lanes[stage.depth] ??= []).push(stage);
  return { list, lanes, stageOf };
}

function drawnStages(nodes, output, cardOf) {
  const { list, lanes, stageOf } = stagesOf(nodes);
  const cards = new Map(list.map((stage) => [stage, cardOf(stage, stage === stageOf.get(output))]));
  const graph = el("div", { class: "graph", role: "group", "aria-label": "Nodes, from the question to the answer" },
    lanes.map((lane) => el("div", { class: "lane" }, lane.map((stage) => cards.get(stage)))));
  const links = list.flatMap((stage) => stage.inputs.map((source) => ({
    from: cards.get(source), to: cards.get(stage), skips: stage.depth - source.depth > 1,
  })));
  new ResizeObserver(() => {
    if (graph.clientWidth) wires(graph, links, { vertical: getComputedStyle(graph).flexDirection === "column" });
  }).observe(graph);
  return graph;
}

// The type of a stage, and the number of samples that its nodes write.
function stageKind({ node, names }) {
  const samples = (node.samples ?? 1) * names.length;
  return `${node.type}${samples > 1 && ["generator", "fuser"].includes(node.type) ? ` × ${samples}` : ""}`;
}

function parameters(node) {
  const entries = [];
  for (const [key, value] of Object.entries(node)) {
    if (["type", "inputs", "model", "prompt", "sampling", "when"].includes(key) || value === null) continue;
    entries.push([key.replaceAll("_", " "), value]);
  }
  return entries;
}
