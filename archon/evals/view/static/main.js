// The page is drawn once; the address decides whether the overview or an item is visible.

const TITLE = document.title;

function followAddress() {
  const given = new Map(location.hash.slice(1).split("&").map((part) => part.split("=")));
  const item = given.has("item") ? ITEM_BY_ID.get(decoded(given.get("item") ?? "")) : undefined;
  const run = Number(given.get("run") ?? 0);
  const overview = document.getElementById("overview");
  const page = document.getElementById("item");
  const cameFrom = state.item;
  state.item = item ?? null;
  document.title = item ? `${clip(wellFormed(item.id), 60)} · ${TITLE}` : TITLE;
  overview.hidden = Boolean(item);
  page.hidden = !item;
  if (item) {
    if (DATA.runs[run]) state.run = run;
    state.epoch = Number(given.get("epoch") ?? 0);
    drawItem(item);
    if (item !== cameFrom) {
      scrollTo({ top: 0, behavior: "instant" });
      page.focus({ preventScroll: true });
    }
    return;
  }
  page.replaceChildren();
  if (SEVERAL && cameFrom) drawGraph.again();
  refreshItems();
  if (cameFrom) {
    scrollTo({ top: state.scroll, behavior: "instant" });
    table.cursor = table.items.indexOf(cameFrom);
    drawRows(true);
    overview.focus({ preventScroll: true });
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

document.getElementById("overview").replaceChildren(SEVERAL ? drawComparison() : drawSummary(), drawGraph(), drawItems());
followAddress();
refreshPreferencesBar();
addEventListener("hashchange", followAddress);
addEventListener("keydown", onKey);
addEventListener("scroll", () => drawRows(), { passive: true });
addEventListener("beforeprint", () => drawRows(true, table.items.length));
addEventListener("resize", () => drawRows(true));
document.documentElement.dataset.ready = "yes";
