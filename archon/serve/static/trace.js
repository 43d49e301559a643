// A trace of the server in the form that the shared drawings read. Texts stand for themselves.

const TEXTS_OF_TRACE = { text_of: (text) => text };

function identityOf({ node, draw }) {
  return `${draw} ${node}`;
}

function viewTrace(architecture, output, parts) {
  const numbers = new Map();
  const candidates = [];
  const reasoning = new Map(parts.flatMap((part) => part.calls.flatMap((call) => call.completions
    .filter((one) => one.reasoning).map((one) => [identityOf({ node: part.node, draw: one.draw }), one.reasoning]))));
  for (const part of parts) {
    for (const found of part.outputs) {
      const key = identityOf(found.id);
      if (numbers.has(key)) continue;
      numbers.set(key, candidates.length);
      const data = { ...found.id, text: found.text, value: found.value, right: null, score: null, of: found.parents };
      if (reasoning.has(key)) data.reasoning = reasoning.get(key);
      candidates.push(data);
    }
  }
  const number = (id) => numbers.get(identityOf(id));
  const known = (ids) => ids.map(number).filter((one) => one !== undefined);
  for (const candidate of candidates) candidate.parents = known(candidate.of);
  return { architecture, output, candidates, nodes: parts.map((part) => viewNode(part, number, known)) };
}

function viewNode(part, number, known) {
  const kept = new Set(part.outputs.map(({ id }) => identityOf(id)));
  const drops = part.drops ?? part.inputs.filter((id) => !kept.has(identityOf(id))).map((candidate) => ({ candidate, why: "not passed on", argument: null, fused: false }));
  return {
    node: part.node,
    type: part.type,
    bypassed: part.bypassed,
    seconds: part.seconds,
    usage: part.usage,
    inputs: known(part.inputs),
    outputs: part.outputs.map(({ id }) => number(id)),
    notes: part.outputs.flatMap(({ id, annotations }) => annotations.filter(({ node }) => node === part.node).map((note) => ({
      candidate: number(id), kind: note.kind, value: note.value, reason: note.reason || null,
    }))),
    drops: drops.map((drop) => ({ ...drop, candidate: number(drop.candidate), argument: drop.argument || null })).filter((drop) => drop.candidate !== undefined),
    calls: part.calls.map((call) => ({
      messages: call.messages.map(({ role, content }) => [role, content]),
      sampling: call.sampling,
      seconds: call.seconds,
      completions: call.completions.map(viewCompletion),
    })),
  };
}

function viewCompletion(one) {
  const data = { text: one.text, notes: one.notes ?? [], draw: one.draw, finish: one.error ? `error: ${one.error}` : one.finish_reason, usage: one.usage };
  if (one.reasoning) data.reasoning = one.reasoning;
  if (one.trace) data.trace = viewTrace(one.trace.architecture, one.trace.output, one.trace.nodes);
  return data;
}

// Nodes of architectures that serve as models are listed in their order.
function nestedNodes() {
  return undefined;
}
