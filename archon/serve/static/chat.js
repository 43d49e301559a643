// The page: what the controls do.

const chat = { models: [], turns: [], stopper: null };
const $ = (id) => document.getElementById(id);

async function loadModels() {
  try {
    chat.models = await served();
  } catch (error) {
    if (error.status === 401) return askForKey();
    return $("conversation").replaceChildren(el("div", { class: "notice error", role: "alert" }, el("p", {}, error.message), el("button", { type: "button", onclick: loadModels }, "Try again")));
  }
  const before = $("model").value;
  const group = (label, models) => models.length > 0 && el("optgroup", { label }, models.map(({ id }) => el("option", { value: id }, shown(id))));
  fill($("model"), { }, [group("Architectures", chat.models.filter(({ graph }) => graph)), group("Models", chat.models.filter(({ graph }) => !graph))]);
  if (before) $("model").value = before;
  changeModel();
  return welcome();
}

function modelNow() {
  return chat.models.find(({ id }) => id === $("model").value) ?? null;
}

function changeModel() {
  settingsFor(modelNow());
  if (!chat.turns.length) welcome();
}

function welcome() {
  const model = modelNow();
  if (!model || chat.turns.length) return;
  const graph = model.graph && drawnStages(model.graph.nodes, model.graph.output, (stage, isOutput) => el("div", { class: `node still ${stage.names.length > 1 ? "stack" : ""}` },
    el("span", { class: "node-head" }, words(stage.title, { class: "node-name" }), isOutput && el("span", { class: "tag" }, "answer")), el("span", { class: "node-kind" }, stageKind(stage))));
  $("conversation").replaceChildren(el("div", { class: "welcome" }, el("h2", {}, words(model.id)),
    el("p", { class: "faint" }, graph ? "An architecture. Ask a question, and watch its nodes find the answer." : "A model. Ask a question."), graph));
}

function askForKey() {
  const dialog = $("key-dialog");
  const input = el("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const wrong = sessionStorage.getItem(KEY) !== null;
  const form = el("form", { method: "dialog", onsubmit: () => {
    sessionStorage.setItem(KEY, input.value.trim());
    loadModels();
  } }, el("h2", { id: "key-title" }, "API key"), el("p", { class: wrong ? "wrong" : "faint" }, wrong ? "The server did not accept the key." : "This server asks for a key. It is kept in this tab only."),
  el("div", { class: "field" }, el("label", { for: "key" }, "Key"), input), el("button", { class: "primary", type: "submit" }, "Continue"));
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
  input.focus();
}

async function ask(question) {
  const model = modelNow();
  const sampling = chosenSampling();
  if (!model || !question || chat.stopper || sampling === null) return;
  if (!chat.turns.length) $("conversation").replaceChildren();
  const body = {
    model: model.id, messages: messagesFor(chat.turns, question), stream: true, stream_options: { include_usage: true }, ...sampling,
    ...(model.graph ? { archon: { events: true } } : {}),
  };
  const turn = new Turn(question, model);
  chat.turns.at(-1)?.live?.box.removeAttribute("open");
  chat.turns.push(turn);
  $("conversation").append(turn.box);
  $("question").value = "";
  grow();
  turn.box.scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
  chat.stopper = new AbortController();
  busy(true);
  announce("The answer is being made.");
  try {
    await streamChat(body, chat.stopper.signal, (chunk) => turn.take(chunk));
    turn.isKept = true;
    turn.end();
    announce("The answer is complete.");
  } catch (error) {
    if (error.name === "AbortError") {
      turn.isKept = turn.text !== "";
      turn.end("Stopped.");
    } else {
      turn.fail(error, () => again(turn));
      if (error.status === 401) askForKey();
    }
  } finally {
    chat.stopper = null;
    busy(false);
  }
}

// Ask a question again, in place of the turn that failed.
function again(turn) {
  if (chat.stopper) return;
  chat.turns = chat.turns.filter((other) => other !== turn);
  turn.box.remove();
  ask(turn.question);
}

function busy(isBusy) {
  $("send").hidden = isBusy;
  $("stop").hidden = !isBusy;
  $("model").disabled = isBusy;
  if (!isBusy && matchMedia("(hover: hover)").matches) $("question").focus({ preventScroll: true });
}

function grow() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight + 2, innerHeight * 0.4)}px`;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask($("question").value.trim());
});
$("question").addEventListener("input", grow);
$("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("form").requestSubmit();
});
$("stop").addEventListener("click", () => chat.stopper?.abort());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("key-dialog").open) chat.stopper?.abort();
});
$("model").addEventListener("change", changeModel);
$("new").addEventListener("click", () => {
  chat.stopper?.abort();
  chat.turns = [];
  welcome();
  $("question").focus();
});
$("settings-button").addEventListener("click", () => {
  const isHidden = !$("settings").hidden;
  $("settings").hidden = isHidden;
  $("settings-button").setAttribute("aria-expanded", String(!isHidden));
});
drawSettings();
loadModels();
