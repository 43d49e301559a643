// The page's data: a summary that is read at once, and a chunk for each answer, opened when asked.

const DATA = JSON.parse(document.getElementById("summary").textContent);

DATA.items.forEach((item, place) => {
  item.place = place;
  item.answers = DATA.rows.map(() => []);
});
DATA.rows.forEach((rows, run) => rows.forEach((row) => DATA.items[row.item].answers[run].push(row)));

const SEVERAL = DATA.runs.length > 1;
const ITEM_BY_ID = new Map(DATA.items.map((item) => [wellFormed(item.id), item]));

// Half a surrogate pair cannot stand in an address.
function wellFormed(text) {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

async function unpack(name) {
  const coded = document.getElementById(name).textContent;
  const bytes = Uint8Array.from(atob(coded), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

let shared = null;
const opened = new Map();

// An answer with its trace; `text` turns the numbers that stand for texts into texts.
async function answerOf(row) {
  shared ??= unpack("shared");
  if (!opened.has(row.chunk)) {
    if (opened.size > 50) opened.clear();
    opened.set(row.chunk, Promise.all([unpack(`chunk-${row.chunk}`), shared]).then(([data, common]) => {
      data.text_of = (number) => (number < 0 ? common[-1 - number] : data.texts[number]);
      return data;
    }));
  }
  return opened.get(row.chunk);
}

// ---------------------------------------------------------------- stages of an architecture

// Nodes that stand in the same place (same type, inputs and readers) are one stage, ten drafts for
// instance. A stage's depth is that of its longest way from the question.
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

function tally(run, names) {
  const sum = {};
  for (const entry of DATA.runs[run].tallies) {
    if (!names.includes(entry.node)) continue;
    for (const [key, value] of Object.entries(entry)) {
      if (typeof value === "number") sum[key] = (sum[key] ?? 0) + value;
    }
  }
  return sum;
}

// What is looked at. `run` is the one whose figures and outcomes the page shows.
const state = { run: 0, node: null, item: null, epoch: 0, scroll: 0 };
