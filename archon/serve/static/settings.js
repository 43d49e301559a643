// Sampling parameters and the system message, which apply to the next question.

const FIELDS = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: 0.1 },
  { name: "top_p", label: "Top p", min: 0, max: 1, step: 0.05 },
  { name: "max_tokens", label: "Most tokens per text", min: 1, step: 1 },
  { name: "seed", label: "Seed", step: 1 },
];

const settings = { inputs: new Map(), system: null, note: null };

function drawSettings() {
  const fields = FIELDS.map(({ name, label, ...limits }) => {
    const input = el("input", { id: `set-${name}`, type: "number", inputmode: "decimal", placeholder: "default", ...limits });
    settings.inputs.set(name, input);
    return el("div", { class: "field" }, el("label", { for: `set-${name}` }, label), input);
  });
  settings.system = el("textarea", { id: "set-system", rows: "2", placeholder: "none" });
  settings.note = el("p", { class: "faint small" });
  document.getElementById("settings").replaceChildren(el("div", { class: "fields" }, fields),
    el("div", { class: "field" }, el("label", { for: "set-system" }, "System message"), settings.system), settings.note);
}

// Offer only the parameters that apply to a model.
function settingsFor(model) {
  const isSampled = !model?.graph || model.graph.sampled_nodes.length > 0;
  for (const [name, input] of settings.inputs) input.disabled = !isSampled && name !== "seed";
  settings.note.replaceChildren(!model?.graph ? "" : isSampled
    ? `They apply to ${model.graph.sampled_nodes.join(", ")}; other nodes keep the values of the architecture.`
    : "No node of this architecture takes the sampling of a request.");
}

function chosenSampling() {
  const values = {};
  for (const [name, input] of settings.inputs) {
    if (input.disabled || input.value === "") continue;
    if (!input.checkValidity()) {
      document.getElementById("settings").hidden = false;
      input.reportValidity();
      return null;
    }
    values[name] = Number(input.value);
  }
  return values;
}
