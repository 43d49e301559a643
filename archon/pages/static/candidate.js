// One candidate: its text, and what each node did with it.

function drawCandidate(answer, trace, candidate, choose) {
  const data = trace.candidates[candidate];
  return el("div", { class: "card candidate-card", role: "region", "aria-label": `Candidate ${shown(candidateName(data, trace))}` },
    el("div", { class: "candidate-head" },
      rightness(data.right),
      brief(data.value ?? "no value", { class: "big-value" }, 200),
      el("span", { class: "faint grows" }, words(candidateName(data, trace)), data.right === null || data.right === undefined ? "" : data.right ? ", would have been right" : `, would have been wrong${partialScore(data.score) ? `, scored ${partialScore(data.score)}` : ""}`),
      el("button", { class: "plain close", "aria-label": "Close this candidate", onclick: () => choose(null) }, "×")),
    el("div", { class: "candidate-body" },
      reasoningFold(answer, data),
      prose(answer.text_of(data.text)),
      el("ol", { class: "story" }, storyOf(answer, trace, candidate, choose))));
}

function storyOf(answer, trace, candidate, choose) {
  const data = trace.candidates[candidate];
  const link = (one) => el("button", { class: "plain link", onclick: () => choose(one) }, words(candidateName(trace.candidates[one], trace)));
  const listed = (ones) => ones.flatMap((one, index) => [index ? ", " : "", link(one)]);
  const steps = [step(data.node, ["wrote it", data.parents.length ? [" from ", listed(data.parents)] : ""])];
  for (const part of trace.nodes) {
    const notes = part.notes.filter((note) => note.candidate === candidate).map((note) => noteLine(answer, note));
    const drop = part.drops.find((one) => one.candidate === candidate);
    if (drop?.fused) {
      const children = part.outputs.filter((one) => trace.candidates[one].parents.includes(candidate));
      notes.push(["fused it into ", listed(children)]);
    } else if (drop) {
      notes.push(el("div", {}, el("span", { class: "drop-word" }, "dropped it: "), words(drop.why)));
      if (drop.argument !== null) notes.push(prose(answer.text_of(drop.argument), { class: "quote", fold: 500 }));
    }
    notes.forEach((line) => steps.push(step(part.node, line)));
  }
  const final = trace.nodes.find((part) => part.node === trace.output);
  if (final?.outputs[0] === candidate) steps.push(step(trace.output, el("b", {}, "returned it as the answer")));
  return merged(steps);
}

function step(node, line) {
  return { node, lines: [line] };
}

// Merge neighbouring steps of one node.
function merged(steps) {
  const joined = [];
  for (const { node, lines } of steps) {
    if (joined.at(-1)?.node === node) joined.at(-1).lines.push(...lines);
    else joined.push({ node, lines: [...lines] });
  }
  return joined.map(({ node, lines }) => el("li", {}, words(node, { class: "story-node" }),
    el("div", {}, lines.map((line) => el("div", {}, line)))));
}

function noteLine(answer, note) {
  const reason = note.reason === null ? null : answer.text_of(note.reason);
  if (note.kind === "critique") {
    return [reason ? el("span", { class: "faint" }, shown(reason)) : "", prose(answer.text_of(note.value), { class: "quote", fold: 500 })];
  }
  if (note.kind === "score") return ["scored it ", el("b", {}, score(note.value)), reason ? [" ", words(`(${reason})`)] : ""];
  if (note.kind === "verdict") {
    return [el("span", {}, "judged it: ", el("b", { class: `verdict ${note.value}` }, shown(note.value))),
      reason ? prose(reason, { class: "quote", fold: 500 }) : ""];
  }
  return ["marked it ", words(note.value)];
}
