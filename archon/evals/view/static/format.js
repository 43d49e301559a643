// Numbers as people read them.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function count(value) {
  return value === null || value === undefined ? "–" : grouped.format(value);
}

function percent(share, digits = 1) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)}\u00a0%`;
}

function points(share) {
  const value = (100 * share).toFixed(1);
  return share > 0 ? `+${value}` : value.replace("-", "−");
}

function interval(bounds, format = (share) => (100 * share).toFixed(1)) {
  return bounds ? `${format(bounds[0])} – ${format(bounds[1])}` : "";
}

function seconds(value) {
  if (value === null || value === undefined) return "–";
  const whole = Math.round(value);
  if (whole >= 3600) return `${Math.floor(whole / 3600)}\u00a0h ${Math.floor((whole % 3600) / 60)}\u00a0min`;
  if (whole >= 120) return `${Math.floor(whole / 60)}\u00a0min ${whole % 60}\u00a0s`;
  if (value >= 10) return `${whole}\u00a0s`;
  if (value >= 0.1) return `${value.toFixed(1)}\u00a0s`;
  if (value === 0) return "0";
  if (value < 0.0001) return "<\u00a00.1\u00a0ms";
  return `${(1000 * value).toFixed(value < 0.01 ? 1 : 0)}\u00a0ms`;
}

function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

function probability(value) {
  if (value === null || value === undefined) return "–";
  return value < 0.001 ? "< 0.001" : value.toFixed(3);
}

function date(text) {
  const when = new Date(text);
  if (!text || Number.isNaN(when.getTime())) return text ?? "";
  return when.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" }) + " UTC";
}

function score(value) {
  return Number.isInteger(value) ? String(value) : Number(value).toFixed(2);
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
