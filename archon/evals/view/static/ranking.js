// Ranking an answer's candidates by hand: by buttons, by keys, or by dragging.

function drawRanking(answer, row) {
  const { trace } = answer;
  const box = el("div", { class: "ranking" });
  const texts = new Map();
  trace.candidates.forEach((data, candidate) => {
    if (!texts.has(data.text)) texts.set(data.text, []);
    texts.get(data.text).push(candidate);
  });
  const groups = new Map([...texts.values()].map((same) => [same[0], same]));
  let order = preferenceOf(row.chunk).filter(([candidate]) => groups.has(candidate));
  const view = { answer, trace, groups, blind: true };

  const change = (next, candidate, control) => {
    order = next.map(([one, tied], place) => [one, place > 0 && tied]);
    keepPreference(row.chunk, order);
    draw();
    box.querySelector(`[data-candidate="${candidate}"] [data-control="${control}"]:not([disabled])`)?.focus()
      ?? box.querySelector(`[data-candidate="${candidate}"] button:not([disabled])`)?.focus();
  };
  const move = (place, steps, control) => {
    const to = Math.min(Math.max(place + steps, 0), order.length - 1);
    if (to === place) return;
    const next = order.filter((_, other) => other !== place);
    next.splice(to, 0, [order[place][0], false]);
    change(next, order[place][0], control);
    announce(`rank ${to + 1} of ${order.length}`);
  };
  const actions = {
    add: (candidate) => change([...order, [candidate, false]], candidate, "up"),
    move,
    tie: (place) => change(order.map(([one, tied], other) => [one, other === place ? !tied : tied]), order[place][0], "tie"),
    remove: (place) => change(order.filter((_, other) => other !== place), order[place][0], "add"),
  };
  const draw = () => {
    const ranked = new Set(order.map(([candidate]) => candidate));
    const rest = [...groups.keys()].filter((candidate) => !ranked.has(candidate));
    const pairs = impliedPairs(order).length;
    let level = 0;
    box.replaceChildren(
      el("div", { class: "ranking-head" },
        el("p", { class: "faint" }, pairs ? `${plural(pairs, "pair")} of a better and a worse text.` : "Add texts in your order of preference, best first. A text that you leave out expresses no preference."),
        el("label", { class: "blind" }, blindBox(view, draw), " hide which are right")),
      el("ol", { class: "ranked", "aria-label": "Ranked, best first" }, order.map(([candidate, tied], place) => {
        if (!tied) level = place + 1;
        return rankedRow(view, candidate, { place, tied, level, last: order.length - 1 }, actions);
      })),
      rest.length > 0 && el("ul", { class: "unranked", "aria-label": "No preference" }, rest.map((candidate) => unrankedRow(view, candidate, actions))));
    for (const list of [box.querySelector(".ranked")]) enableDragging(list, (from, to) => move(from, to - from, "up"));
  };
  draw();
  return box;
}

function blindBox(view, draw) {
  const input = el("input", { type: "checkbox", onchange: () => { view.blind = input.checked; draw(); } });
  input.checked = view.blind;
  return input;
}

function rankedText({ answer, trace, groups, blind }, candidate) {
  const data = trace.candidates[candidate];
  return el("div", { class: "rank-text" },
    el("div", { class: "rank-who" }, blind ? null : rightness(data.right), brief(data.value ?? "no value", { class: "value" }),
      el("span", { class: "faint" }, words(groups.get(candidate).map((one) => candidateName(trace.candidates[one], trace)).join(", ")))),
    prose(answer.text_of(data.text), { class: "compact", fold: 180 }));
}

function rankedRow(view, candidate, { place, tied, level, last }, { move, tie, remove }) {
  const name = shown(candidateName(view.trace.candidates[candidate], view.trace));
  const control = (key, symbol, label, action, disabled) => el("button", {
    class: "control", "data-control": key, "aria-label": `${label}: ${name}`, title: label, disabled, onclick: action,
  }, symbol);
  return el("li", {
    class: `rank-row ${tied ? "tied" : ""}`, "data-candidate": candidate,
    onkeydown: (event) => {
      if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
      event.preventDefault();
      move(place, event.key === "ArrowUp" ? -1 : 1, "up");
    },
  },
    el("span", { class: "handle", "aria-hidden": "true", title: "Drag" }, "⠿"),
    el("span", { class: "rank-place" }, `${tied ? "=" : ""}${level}`),
    rankedText(view, candidate),
    el("div", { class: "controls" },
      control("up", "↑", "Move up", () => move(place, -1, "up"), place === 0),
      control("down", "↓", "Move down", () => move(place, 1, "down"), place === last),
      control("tie", "=", tied ? "Not as good as the one above" : "As good as the one above", () => tie(place), place === 0),
      control("remove", "×", "No preference", () => remove(place), false)));
}

function unrankedRow(view, candidate, { add }) {
  const name = shown(candidateName(view.trace.candidates[candidate], view.trace));
  return el("li", { class: "rank-row", "data-candidate": candidate },
    el("button", { class: "control add", "data-control": "add", "aria-label": `Rank next: ${name}`, title: "Rank next", onclick: () => add(candidate) }, "+"),
    rankedText(view, candidate));
}

// Rows follow the finger or mouse that drags their handle.
function enableDragging(list, drop) {
  list.addEventListener("pointerdown", (event) => {
    const handle = event.target.closest(".handle");
    if (!handle) return;
    event.preventDefault();
    const row = handle.closest("li");
    const rows = [...list.children];
    const from = rows.indexOf(row);
    const start = event.clientY;
    const middles = rows.map((one) => { const { top, height } = one.getBoundingClientRect(); return top + height / 2; });
    let to = from;
    handle.setPointerCapture(event.pointerId);
    row.classList.add("dragged");
    const follow = ({ clientY }) => {
      row.style.transform = `translateY(${clientY - start}px)`;
      const y = middles[from] + clientY - start;
      to = middles.filter((middle, place) => place !== from && middle < y).length;
    };
    const end = () => {
      handle.removeEventListener("pointermove", follow);
      row.classList.remove("dragged");
      row.style.transform = "";
      if (to !== from) drop(from, to);
    };
    handle.addEventListener("pointermove", follow);
    handle.addEventListener("pointerup", end, { once: true });
    handle.addEventListener("pointercancel", () => { to = from; end(); }, { once: true });
  });
}
