// The page's data: a summary that is read at once, and a chunk for each answer, read on demand.

const DATA = JSON.parse(document.getElementById("summary").textContent);

DATA.items.forEach((item, index) => {
  item.index = index;
  item.answers = DATA.rows.map(() => []);
});
DATA.rows.forEach((rows, run) => rows.forEach((row) => DATA.items[row.item].answers[run].push(row)));

const SEVERAL = DATA.runs.length > 1;
const ITEM_BY_ID = new Map(DATA.items.map((item) => [wellFormed(item.id), item]));

// Half a surrogate pair is not valid in an address.
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

// An answer with its trace; `text_of` returns the text with a number.
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

// The current selection. The page shows the figures and outcomes of `run`.
const state = { run: 0, node: null, item: null, epoch: 0, scroll: 0 };
