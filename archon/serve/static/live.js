// One run of an architecture, drawn while it happens: nodes, texts, votes and candidates.

const TAIL_CHARS = 220;
const MAX_TILES = 12;
const MAX_LIVE_CHARS = 4000;
const MAX_VOTES = 6;
const WRITERS = ["generator", "fuser"];

class Live {
  constructor({ id, output, nodes }) {
    Object.assign(this, { id, output, nodes });
    this.parts = [];
    this.running = new Map(); // node → draw → the end of its text
    this.finished = new Map();
    this.chosen = null; // identity of the candidate that is open
    this.node = null; // title of the stage whose calls are open
    this.isOver = false;
    this.isDrawn = true;
    this.graph = el("div", { class: "run-graph" });
    this.texts = el("div", { class: "tiles", "aria-hidden": "true" });
    this.votes = el("div", { class: "votes" });
    this.calls = el("div", {});
    this.flow = el("div", {});
    this.detail = el("div", { "aria-live": "polite" });
    this.summary = el("span", {});
    this.box = el("details", { class: "run card", open: true },
      el("summary", {}, el("b", {}, "How the answer came about"), " ", this.summary),
      this.graph, this.calls, this.texts, this.votes, this.flow, this.detail);
    this.cards = new Map();
    this.graph.append(drawnStages(nodes, output, (stage, isOutput) => this.card(stage, isOutput)));
    this.refreshCards();
  }

  card(stage, isOutput) {
    const facts = el("span", { class: "node-facts" });
    const button = el("button", { type: "button", class: `node ${stage.names.length > 1 ? "stack" : ""}`, "aria-pressed": "false", onclick: () => this.openNode(stage) },
      el("span", { class: "node-head" }, words(stage.title, { class: "node-name" }), isOutput && el("span", { class: "tag" }, "answer")),
      el("span", { class: "node-kind" }, stageKind(stage)), facts);
    this.cards.set(stage.title, { stage, button, facts });
    return button;
  }

  take(events) {
    for (const event of events) {
      if (event.type === "node.started") this.running.set(event.node, new Map());
      else if (event.type === "node.finished") {
        this.running.delete(event.node);
        this.finished.set(event.node, event.result);
        this.parts.push(event.result);
        this.hasNew = true;
      } else {
        const draws = this.running.get(event.node);
        if (!draws) continue;
        const text = (draws.get(event.draw) ?? "") + event.delta;
        draws.set(event.draw, text.length > MAX_LIVE_CHARS ? text.slice(-MAX_LIVE_CHARS / 2) : text);
      }
    }
    this.soon();
  }

  soon() {
    if (!this.isDrawn) return;
    this.isDrawn = false;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.isDrawn = true;
    this.refreshCards();
    this.drawTexts();
    if (!this.hasNew) return;
    this.hasNew = false;
    this.drawVotes();
    this.drawFlow();
    this.drawCalls();
  }

  refreshCards() {
    for (const { stage, button, facts } of this.cards.values()) {
      const runs = stage.names.filter((name) => this.running.has(name)).length;
      const done = stage.names.map((name) => this.finished.get(name)).filter(Boolean);
      const isDone = done.length === stage.names.length;
      const isBypassed = isDone && done.every((part) => part.bypassed);
      const status = isBypassed ? "bypassed" : isDone ? "done" : runs && !this.isOver ? "running" : "waiting";
      button.className = `node ${stage.names.length > 1 ? "stack" : ""} ${status} ${this.node === stage.title ? "chosen" : ""}`;
      button.setAttribute("aria-pressed", String(this.node === stage.title));
      const tokens = done.reduce((sum, part) => sum + part.usage.completion_tokens, 0);
      const words = { bypassed: "not needed", running: "at work", waiting: this.isOver ? "not run" : "waits" }[status];
      facts.replaceChildren(...(words ? [el("span", { class: "status" }, words)] : [
        fact("passes on", String(done.reduce((sum, part) => sum + part.outputs.length, 0))),
        ...(tokens ? [fact("tokens", count(tokens))] : []),
        fact("time", seconds(Math.max(...done.map((part) => part.seconds))))]));
    }
  }

  status() {
    const names = [...this.running.keys()];
    if (!names.length) return "Waiting for the server";
    const samples = names.reduce((sum, name) => sum + this.running.get(name).size, 0);
    return `${names.slice(0, 3).join(", ")}${names.length > 3 ? " …" : ""} at work${samples > 1 ? `, ${samples} texts` : ""}`;
  }

  drawTexts() {
    const tiles = this.isOver ? [] : [...this.running].flatMap(([node, draws]) => [...draws].map(([draw, text]) => ({ node, draw, text, alone: draws.size === 1 })));
    const shownTiles = tiles.slice(0, MAX_TILES);
    this.texts.replaceChildren(...shownTiles.map(({ node, draw, text, alone }) => el("div", { class: "tile" },
      el("div", { class: "tile-name" }, words(alone ? node : `${node} ${draw}`)),
      el("div", { class: "tile-text", dir: "auto" }, shown(text.length > TAIL_CHARS ? `…${text.slice(-TAIL_CHARS)}` : text)))),
    ...(tiles.length > MAX_TILES ? [el("p", { class: "faint small" }, `and ${plural(tiles.length - MAX_TILES, "more text")}`)] : []));
  }

  trace() {
    return viewTrace(this.id, this.output, this.parts);
  }

  // The values of all candidates that were written so far.
  drawVotes() {
    const votes = new Map();
    const seen = new Set();
    for (const part of this.parts.filter(({ type }) => WRITERS.includes(type))) {
      for (const { id, value } of part.outputs) {
        if (seen.has(identityOf(id))) continue;
        seen.add(identityOf(id));
        votes.set(value, (votes.get(value) ?? 0) + 1);
      }
    }
    const list = [...votes].sort((a, b) => b[1] - a[1]);
    if (seen.size < 2 || (list.length === 1 && list[0][0] === null)) return this.votes.replaceChildren();
    const answer = this.finished.get(this.output)?.outputs[0]?.value;
    const row = ([value, number]) => {
      const bar = el("span", { class: "vote-bar", "aria-hidden": "true" }, el("span", {}));
      bar.firstChild.style.width = `${(100 * number) / list[0][1]}%`;
      return el("li", { class: value !== null && value === answer ? "vote won" : "vote" },
        brief(value ?? "no value", { class: `vote-value ${value === null ? "faint" : ""}` }, 60), bar, el("span", { class: "vote-count" }, `${number} of ${seen.size}`));
    };
    return this.votes.replaceChildren(el("h3", {}, "Votes"), el("ol", {}, list.slice(0, MAX_VOTES).map(row)),
      ...(list.length > MAX_VOTES ? [el("p", { class: "faint small" }, `and ${plural(list.length - MAX_VOTES, "more value")}`)] : []));
  }

  drawFlow() {
    const trace = this.trace();
    const keyOf = (candidate) => identityOf(trace.candidates[candidate]);
    const choose = (candidate) => {
      this.chosen = candidate === null || keyOf(candidate) === this.chosen ? null : keyOf(candidate);
      open();
      if (this.chosen !== null) this.detail.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
    };
    const flow = drawFlow(trace, this.nodes, choose);
    const open = () => {
      const candidate = trace.candidates.findIndex((one) => identityOf(one) === this.chosen);
      flow.light(candidate < 0 ? null : candidate);
      this.detail.replaceChildren(...(candidate < 0 ? [] : [drawCandidate(TEXTS_OF_TRACE, trace, candidate, choose), this.origin(trace, candidate)].filter(Boolean)));
    };
    this.flow.replaceChildren(el("h3", {}, "Candidates"), el("p", { class: "faint small" }, "Select one to see its text, its prompt, its parents, and what each node did with it."), flow.box);
    open();
  }

  // The call that wrote a candidate.
  origin(trace, candidate) {
    const { node, draw } = trace.candidates[candidate];
    const part = trace.nodes.find((one) => one.node === node);
    const call = part?.calls.find(({ completions }) => completions.some((one) => one.draw === draw));
    return call && lazy("Prompt and completion", () => drawCall(TEXTS_OF_TRACE, { ...call, completions: call.completions.filter((one) => one.draw === draw) }));
  }

  openNode({ title }) {
    this.node = this.node === title ? null : title;
    this.refreshCards();
    this.drawCalls();
  }

  drawCalls() {
    if (this.node === null) return this.calls.replaceChildren();
    const { stage } = this.cards.get(this.node);
    const trace = this.trace();
    const parts = trace.nodes.filter(({ node }) => stage.names.includes(node));
    const settings = parameters(stage.node).map(([key, value]) => [key, typeof value === "object" ? JSON.stringify(value) : value]);
    return this.calls.replaceChildren(el("div", { class: "node-detail" }, el("h3", {}, words(stage.title)), settings.length > 0 && facts(settings),
      parts.length ? drawCalls(TEXTS_OF_TRACE, { ...trace, nodes: parts }) : el("p", { class: "faint small" }, "The node has not finished.")));
  }

  end(usage) {
    this.isOver = true;
    const time = Math.max(0, ...this.parts.map((part) => part.start_seconds + part.seconds));
    this.summary.replaceChildren(el("span", { class: "faint small" }, [usage && `${count(usage.completion_tokens)} tokens written, ${count(usage.prompt_tokens)} read`, time > 0 && seconds(time)].filter(Boolean).join(" · ")));
    this.hasNew = this.parts.length > 0;
    this.soon();
  }
}

function fact(name, value) {
  return el("span", { class: "node-fact" }, name, el("b", {}, value));
}
