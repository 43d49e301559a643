// Preferences of the reader, kept in memory and, if the browser allows it, between visits.

const STORE = `archon-preferences-${DATA.key}`;

const preferences = readPreferences();

// Answer (its chunk) → candidates in order, best first: [number, as good as the one before].
function readPreferences() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE) ?? "{}");
    return new Map(Object.entries(kept).filter(([, order]) => Array.isArray(order)));
  } catch {
    return new Map();
  }
}

function keepPreference(chunk, order) {
  if (order.length) preferences.set(String(chunk), order);
  else preferences.delete(String(chunk));
  try {
    localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(preferences)));
  } catch {
    // It stays in memory.
  }
  refreshPreferencesBar();
}

function preferenceOf(chunk) {
  return (preferences.get(String(chunk)) ?? []).map(([candidate, tied]) => [candidate, Boolean(tied)]);
}

// Pairs of (better, worse) that an order implies; ties imply none.
function impliedPairs(order) {
  let level = -1;
  const levels = order.map(([candidate, tied], place) => {
    if (!place || !tied) level += 1;
    return [candidate, level];
  });
  return levels.flatMap(([better, high]) => levels.filter(([, low]) => low > high).map(([worse]) => [better, worse]));
}

async function preferenceLines() {
  const lines = [];
  const chunks = [...preferences.keys()].map(Number).sort((a, b) => a - b);
  for (const chunk of chunks) {
    const answer = await answerOf({ chunk });
    const text = (candidate) => answer.text_of(answer.trace.candidates[candidate].text);
    for (const [better, worse] of impliedPairs(preferenceOf(chunk))) {
      if (text(better) === text(worse)) continue;
      lines.push(JSON.stringify({ prompt: answer.text_of(answer.question), chosen: text(better), rejected: text(worse) }));
    }
  }
  return lines;
}

async function downloadPreferences() {
  const lines = await preferenceLines();
  const blob = new Blob(lines.map((text) => `${text}\n`), { type: "application/x-ndjson" });
  const address = URL.createObjectURL(blob);
  const name = DATA.runs[0].name.replace(/[^A-Za-z0-9._-]+/g, "-");
  el("a", { href: address, download: `preferences-${name}.jsonl` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  announce(`${plural(lines.length, "pair")} downloaded`);
}

function numPairs() {
  return [...preferences.keys()].reduce((sum, chunk) => sum + impliedPairs(preferenceOf(chunk)).length, 0);
}

function preferencesBar() {
  return el("div", { class: "preferences-bar" });
}

function refreshPreferencesBar() {
  const pairs = numPairs();
  for (const bar of document.querySelectorAll(".preferences-bar")) {
    bar.replaceChildren(...(pairs ? [
      el("span", { class: "faint" }, `${plural(preferences.size, "answer")} ranked`),
      el("button", { class: "download", onclick: downloadPreferences }, `Download preferences (${plural(pairs, "pair")})`)] : []));
  }
}
