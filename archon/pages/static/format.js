// Formats of numbers.

// The value with its decimal point moved in decimal notation: 0.285 by 2 places is exactly 28.5.
function shifted(value, places) {
  const [digits, exponent = "0"] = String(value).split("e");
  return Number(`${digits}e${Number(exponent) + places}`);
}

// Round the decimal notation, a half away from zero, like archon/evals/rounding.py.
function decimal(value, digits = 0, places = 0) {
  const whole = Math.round(shifted(Math.abs(value), places + digits));
  const text = shifted(whole, -digits).toFixed(digits);
  return value < 0 && whole !== 0 ? `−${text}` : text;
}

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function count(value) {
  return value === null || value === undefined ? "–" : grouped.format(value);
}

function percent(share, digits = 1) {
  return share === null || share === undefined ? "–" : `${decimal(share, digits, 2)}%`;
}

function points(share) {
  const text = decimal(share, 1, 2);
  return share > 0 && Number(text) !== 0 ? `+${text}` : text;
}

function interval(bounds, format = (share) => decimal(share, 1, 2)) {
  return bounds ? `${format(bounds[0])} – ${format(bounds[1])}` : "";
}

function seconds(value) {
  if (value === null || value === undefined) return "–";
  const whole = Math.round(value);
  if (whole >= 3600) return `${Math.floor(whole / 3600)}\u00a0h ${Math.floor((whole % 3600) / 60)}\u00a0min`;
  if (whole >= 120) return `${Math.floor(whole / 60)}\u00a0min ${whole % 60}\u00a0s`;
  if (value >= 10) return `${whole}\u00a0s`;
  if (value >= 0.1) return `${decimal(value, 1)}\u00a0s`;
  if (value === 0) return "0";
  if (value < 0.0001) return "<\u00a00.1\u00a0ms";
  return `${decimal(value, value < 0.01 ? 1 : 0, 3)}\u00a0ms`;
}

function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

function probability(value) {
  if (value === null || value === undefined) return "–";
  return value < 0.001 ? "< 0.001" : decimal(value, 3);
}

function date(text) {
  const when = new Date(text);
  if (!text || Number.isNaN(when.getTime())) return text ?? "";
  return when.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" }) + " UTC";
}

function score(value) {
  return Number.isInteger(value) ? String(value) : decimal(value, 2);
}

// A mean score with its 95% interval.
function meanScore({ mean_score: value, mean_score_interval: bounds }) {
  return `${decimal(value, 3)}, 95% interval ${interval(bounds, (bound) => decimal(bound, 3))}`;
}

// True if partial scores make the mean score differ from the accuracy.
function hasPartialScores(report) {
  return typeof report.mean_score === "number" && report.mean_score !== report.accuracy;
}

// A partial score as text; null for 0 and 1, which the outcome already shows.
function partialScore(value) {
  return value > 0 && value < 1 ? score(value) : null;
}

const STATES = { number: "state no number", text: "state no answer", code: "contain no program" };

// Sentences about failed answers and answers without a value.
function answerNotices(report) {
  const sentences = [];
  if (report.num_errors) {
    const causes = (report.errors ?? []).slice(0, 5).map(({ cause, count: number }) => `${count(number)} × ${cause.replace(/^NodeError: /, "")}`);
    const more = (report.errors ?? []).length > 5 ? `; and ${plural(report.errors.length - 5, "more cause")}` : "";
    sentences.push(`${plural(report.num_errors, "answer")} of ${count(report.num_runs)} failed, and ${report.num_errors === 1 ? "counts" : "count"} as wrong${causes.length ? `: ${causes.join("; ")}${more}` : "."}`);
  }
  if (report.num_without_value) {
    sentences.push(`${plural(report.num_without_value, "answer")} of ${count(report.num_runs)} ${(STATES[report.answer] ?? "state no value").replace(/^\w+/, (verb) => report.num_without_value === 1 ? `${verb}s` : verb)}.`);
  }
  return sentences;
}

const OUTCOMES = {
  right: { mark: "✓", name: "right" },
  wrong: { mark: "✗", name: "wrong" },
  failed: { mark: "!", name: "failed" },
};

function outcomeMark(outcome) {
  const { mark, name } = OUTCOMES[outcome];
  return el("span", { class: `mark ${outcome}`, role: "img", "aria-label": name, title: name }, mark);
}

function rightness(right) {
  if (right === null || right === undefined) return null;
  return outcomeMark(right ? "right" : "wrong");
}
