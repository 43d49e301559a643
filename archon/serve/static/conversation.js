// The conversation: questions, and answers that grow while they arrive.

class Turn {
  constructor(question, model) {
    Object.assign(this, { question, model, text: "", reasoning: "", isOver: false, isKept: false, isDrawn: true });
    this.status = el("p", { class: "status-line" }, el("span", { class: "pulse", "aria-hidden": "true" }), el("span", {}, "Waiting for the server"));
    this.body = el("div", { class: "reply-body" });
    this.thoughts = el("details", { class: "thoughts", hidden: true }, el("summary", {}, "Reasoning"), el("div", {}));
    this.live = model.graph ? new Live(model.graph) : null;
    this.actions = el("div", { class: "actions" });
    this.box = el("article", { class: "turn" },
      el("div", { class: "asked", dir: "auto" }, el("span", { class: "unseen" }, "You: "), shown(question)),
      el("div", { class: "reply" }, el("div", { class: "reply-name" }, words(model.id)), this.thoughts, this.body, this.status, this.actions), this.live?.box);
  }

  take(chunk) {
    this.usage = chunk.usage ?? this.usage;
    for (const choice of chunk.choices) {
      if (choice.archon?.events) this.live?.take(choice.archon.events);
      this.text += choice.delta.content ?? "";
      this.reasoning += choice.delta.reasoning_content ?? "";
      this.finish = choice.finish_reason ?? this.finish;
    }
    this.soon();
  }

  soon() {
    if (!this.isDrawn) return;
    this.isDrawn = false;
    // A long text is drawn less often, because it is drawn again each time.
    setTimeout(() => requestAnimationFrame(() => this.draw()), Math.min(600, this.text.length / 40));
  }

  draw() {
    this.isDrawn = true;
    const isNear = innerHeight + scrollY > document.documentElement.scrollHeight - 120;
    if (this.text) this.body.replaceChildren(markdown(this.text));
    this.thoughts.hidden = !this.reasoning;
    if (this.reasoning) this.thoughts.lastChild.replaceChildren(prose(this.reasoning.trim()));
    this.status.lastChild.textContent = this.live && !this.text ? this.live.status() : "Writing";
    this.status.hidden = this.isOver;
    if (isNear && !this.isOver && !this.live) scrollTo({ top: document.documentElement.scrollHeight });
  }

  end(note = null) {
    this.isOver = true;
    this.live?.end(this.usage);
    this.draw();
    const cut = this.finish === "length" ? "The answer was cut off: it reached the limit of tokens." : null;
    if (note ?? cut) this.actions.append(el("p", { class: "notice" }, note ?? cut));
    if (!this.text && !note) this.body.replaceChildren(el("p", { class: "faint" }, "(empty answer)"));
    if (this.text) {
      const copy = el("button", { type: "button", class: "plain copy", onclick: () => copyText(this.text, copy) }, "Copy");
      this.actions.append(copy);
    }
    if (!this.live && this.usage) this.actions.append(el("span", { class: "faint small" }, `${count(this.usage.completion_tokens)} tokens written, ${count(this.usage.prompt_tokens)} read`));
  }

  fail(error, again) {
    this.isOver = true;
    this.live?.end(this.usage);
    this.draw();
    this.actions.append(el("div", { class: "notice error", role: "alert" }, el("p", {}, el("b", {}, "No answer. "), words(error.message)),
      hintFor(error) && el("p", { class: "small" }, hintFor(error)), el("button", { type: "button", onclick: again }, "Ask again")));
  }
}

function hintFor({ status, param }) {
  const field = FIELDS.find(({ name }) => name === param);
  if (field) return `Change “${field.label}” in the settings.`;
  if (status === 429) return "Other requests are running. Wait a moment.";
  if (status === 413 || param === "messages") return "Start a new conversation if this one has become too long.";
  return null;
}

// The messages of the turns that have an answer, and the new question.
function messagesFor(turns, question) {
  const system = settings.system.value.trim();
  return [
    ...(system ? [{ role: "system", content: system }] : []),
    ...turns.filter(({ isKept }) => isKept).flatMap(({ question: asked, text }) => [{ role: "user", content: asked }, { role: "assistant", content: text }]),
    { role: "user", content: question },
  ];
}
