// The data of the page, what is selected, and how it is filtered and sorted.

let DATA = JSON.parse(document.getElementById("data").textContent);

const MOST_COMPARED = 8;
const selected = new Set();
const view = { text: "", state: "all", group: "", sort: "date", down: true, compares: false };

const STATE_NAMES = { finished: "finished", running: "being written", interrupted: "interrupted", damaged: "damaged" };

// Runs can be compared if they have the same benchmark and split.
const groupOf = (run) => (run.state === "damaged" ? null : `${run.benchmark} (${run.split})`);
const modelNames = (run) => [...new Set(Object.values(run.models ?? {}).map((name) => name ?? "custom model"))].join(", ");
const selectedRuns = () => DATA.runs.filter((run) => selected.has(run.path));

function stateText(run) {
  const parts = [STATE_NAMES[run.state] ?? run.state];
  if (run.num_asked !== null && run.num_runs < run.num_asked) parts.push(`${count(run.num_runs)} of ${count(run.num_asked)}`);
  if (run.num_errors) parts.push(`${count(run.num_errors)} failed`);
  return parts.join(", ");
}

const RUN_COLUMNS = {
  run: { name: "Run", value: (run) => (run.architecture ?? run.path).toLowerCase() },
  models: { name: "Models", value: (run) => modelNames(run).toLowerCase() },
  benchmark: { name: "Benchmark", value: (run) => groupOf(run) ?? "" },
  size: { name: "Items", value: (run) => run.num_items, isNumber: true },
  accuracy: { name: "Accuracy", value: (run) => run.accuracy, isNumber: true },
  cost: { name: "Tokens per answer", value: (run) => run.cost_tokens, isNumber: true },
  date: { name: "Started", value: (run) => run.start_time ?? null, isNumber: true },
  state: { name: "State", value: (run) => run.state },
};

function haystack(run) {
  run.haystack ??= [run.path, run.architecture, modelNames(run), groupOf(run), run.scorer, run.state, `seed ${run.seed}`].join("\n").toLowerCase();
  return run.haystack;
}

function visibleRuns() {
  const needles = view.text.toLowerCase().split(/\s+/).filter(Boolean);
  const { value } = RUN_COLUMNS[view.sort];
  const order = view.down ? -1 : 1;
  return DATA.runs
    .filter((run) => (view.state === "all" || run.state === view.state)
      && (!view.group || groupOf(run) === view.group)
      && needles.every((needle) => haystack(run).includes(needle)))
    .map((run) => [value(run), run])
    .sort(([a, one], [b, other]) => {
      if (a === null || b === null) return (a === null) - (b === null) || (one.path < other.path ? -1 : 1);
      return a < b ? -order : a > b ? order : one.path < other.path ? -1 : 1;
    })
    .map(([, run]) => run);
}
