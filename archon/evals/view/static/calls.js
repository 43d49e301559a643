// Every prompt and completion, made only when it is opened.

function drawCalls(answer, trace) {
  const parts = trace.nodes.filter((part) => part.calls.length > 0);
  if (!parts.length) return el("p", { class: "faint" }, "No model was asked.");
  return parts.map((part) => el("div", { class: "calls" },
    part.calls.map((call, place) => lazy(callTitle(part, call, place), () => drawCall(answer, call)))));
}

function callTitle(part, call, place) {
  const sum = (key) => call.completions.reduce((total, one) => total + one.usage[key], 0);
  const prompt = call.completions[0]?.usage.prompt_tokens ?? 0;
  return [el("b", {}, words(part.node), part.calls.length > 1 ? `, request ${place + 1}` : ""), el("span", { class: "faint" },
    ` ${part.type} · ${plural(call.completions.length, "completion")} · prompt ${count(prompt)} tokens`,
    sum("cached_tokens") ? `, ${count(sum("cached_tokens"))} cached` : "",
    ` · ${count(sum("completion_tokens"))} written · ${seconds(call.seconds)}`,
    call.completions.some((one) => one.finish === "length") ? " · cut off" : "")];
}

// A fold whose inside is made at the first opening.
function lazy(title, make) {
  const fold = el("details", { class: "fold" }, el("summary", {}, title));
  fold.addEventListener("toggle", () => {
    if (fold.open && fold.childElementCount === 1) fold.append(el("div", { class: "fold-body" }, make()));
  });
  return fold;
}

function drawCall(answer, call) {
  const sampling = Object.entries(call.sampling).filter(([, value]) => value !== null && !(Array.isArray(value) && !value.length));
  const exchange = call.messages.map(([role, number]) => speech(role, role, prose(answer.text_of(number), { fold: 1200 })));
  const replies = call.completions.map((one) => speech("completion",
    [`completion ${one.draw}`, el("span", { class: "faint" }, ` ${count(one.usage.completion_tokens)} tokens${one.finish === "stop" ? "" : `, ended by ${one.finish}`}`)],
    [reasoningFold(answer, one), one.notes.map((note) => el("p", { class: "faint small" }, words(note))),
      prose(answer.text_of(one.text), { fold: 1200 }),
      one.trace && lazy(["How ", words(one.trace.architecture), " made it"], () => nested(answer, one.trace))]));
  return [el("p", { class: "faint small" }, sampling.map(([key, value]) => `${key.replaceAll("_", " ")} ${shown(value)}`).join(" · ")), exchange, replies];
}

// What was reasoned before a text, folded.
function reasoningFold(answer, data) {
  return data.reasoning !== undefined && lazy("Reasoning", () => prose(answer.text_of(data.reasoning)));
}

function speech(kind, who, what) {
  return el("div", { class: `speech ${kind}` }, el("div", { class: "speech-who" }, who), what);
}

// The run of an architecture that stands in the place of a model.
function nested(answer, trace) {
  return [explorable(answer, trace, DATA.runs[state.run].nested[trace.architecture]), drawCalls(answer, trace)];
}
