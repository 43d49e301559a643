// Every prompt and completion. Elements are made when a fold is opened.

function drawCalls(answer, trace) {
  const parts = trace.nodes.filter((part) => part.calls.length > 0);
  if (!parts.length) return el("p", { class: "faint" }, "No model was called.");
  return parts.map((part) => el("div", { class: "calls" },
    part.calls.map((call, index) => lazy(callTitle(part, call, index), () => drawCall(answer, call)))));
}

function callTitle(part, call, index) {
  const sum = (key) => call.completions.reduce((total, one) => total + one.usage[key], 0);
  const prompt = call.completions[0]?.usage.prompt_tokens ?? 0;
  return [el("b", {}, words(part.node), part.calls.length > 1 ? `, request ${index + 1}` : ""), el("span", { class: "faint" },
    ` ${part.type} · ${plural(call.completions.length, "completion")} · ${plural(prompt, "prompt token")}`,
    sum("cached_tokens") ? `, ${count(sum("cached_tokens"))} cached` : "",
    ` · ${plural(sum("completion_tokens"), "completion token")} · ${seconds(call.seconds)}`,
    call.completions.some((one) => one.finish === "length") ? " · cut off" : "")];
}

// A fold whose content is made when it is first opened.
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
    [`completion ${one.draw}`, el("span", { class: "faint" }, ` ${plural(one.usage.completion_tokens, "token")}${one.finish === "stop" ? "" : `, finish reason: ${one.finish}`}`)],
    [reasoningFold(answer, one), one.notes.map((note) => el("p", { class: "faint small" }, words(note))),
      prose(answer.text_of(one.text), { fold: 1200 }),
      one.trace && lazy(["How ", words(one.trace.architecture), " answered"], () => nested(answer, one.trace))]));
  return [el("p", { class: "faint small" }, sampling.map(([key, value]) => `${key.replaceAll("_", " ")} ${shown(value)}`).join(" · ")), exchange, replies];
}

// The reasoning before a text, folded.
function reasoningFold(answer, data) {
  return data.reasoning !== undefined && lazy("Reasoning", () => prose(answer.text_of(data.reasoning)));
}

function speech(kind, who, what) {
  return el("div", { class: `speech ${kind}` }, el("div", { class: "speech-who" }, who), what);
}

// The run of an architecture that serves as a model. Each page defines `nestedNodes`, which returns
// the nodes of such an architecture.
function nested(answer, trace) {
  return [explorable(answer, trace, nestedNodes(trace.architecture)), drawCalls(answer, trace)];
}
