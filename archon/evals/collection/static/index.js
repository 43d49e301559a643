// The page is drawn once; a served page reads its data again while runs are in progress.

const READ_AGAIN_SECONDS = 3;

function drawHead() {
  const parts = [plural(DATA.runs.length, "run")];
  if (DATA.comparisons.length) parts.push(plural(DATA.comparisons.length, "comparison"));
  if (DATA.studies.length) parts.push(plural(DATA.studies.length, "search", "searches"));
  return el("header", { class: "head" },
    el("p", { class: "eyebrow" }, "Archon runs"),
    el("h1", {}, words(DATA.folder)),
    el("p", { class: "lead" }, parts.join(", "), ". ", el("span", { id: "made" }, madeText())));
}

function madeText(isLost = false) {
  const when = clock(DATA.made);
  if (isLost) return `The server does not answer; these are the figures of ${when}.`;
  return DATA.live ? `Updated ${when}; updates by itself.` : `This page was made ${when}.`;
}

function clock(text) {
  const when = new Date(text);
  const time = when.toLocaleTimeString("en-GB", { timeZone: "UTC", timeStyle: DATA.live ? "medium" : "short" });
  return `${when.toLocaleDateString("en-GB", { timeZone: "UTC", dateStyle: "medium" })}, ${time} UTC`;
}

function drawAll() {
  document.getElementById("index").replaceChildren(...[
    drawHead(), el("div", { id: "compared", hidden: true }), drawRuns(), drawComparisons(), drawStudies(), selectionBar(),
  ].filter(Boolean));
  refreshRuns();
}

async function readAgain() {
  try {
    const response = await fetch(`data.json?known=${DATA.key}`);
    if (!response.ok) throw new Error(response.statusText);
    const next = await response.json();
    DATA = next.key === DATA.key ? { ...DATA, made: next.made } : next;
    if (next.runs) redraw();
    document.getElementById("made").textContent = madeText();
  } catch {
    document.getElementById("made").textContent = madeText(true);
  }
  setTimeout(readAgain, READ_AGAIN_SECONDS * 1000);
}

// Draw new data without losing the selection, the place, or a text that is being typed.
function redraw() {
  const known = new Set(DATA.runs.map((run) => run.path));
  for (const path of selected) if (!known.has(path)) selected.delete(path);
  const { activeElement } = document;
  const [isTyping, start, end] = [activeElement?.id === "search", activeElement?.selectionStart, activeElement?.selectionEnd];
  const focusedRun = activeElement?.closest("tr")?.dataset.path;
  const top = scrollY;
  drawAll();
  scrollTo({ top, behavior: "instant" });
  choices.get(focusedRun)?.[2].focus({ preventScroll: true });
  if (!isTyping) return;
  const search = document.getElementById("search");
  search.focus({ preventScroll: true });
  search.setSelectionRange(start, end);
}

drawAll();
document.documentElement.dataset.ready = "yes";
if (DATA.live) setTimeout(readAgain, READ_AGAIN_SECONDS * 1000);
