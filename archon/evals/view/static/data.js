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
