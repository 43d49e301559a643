"""The page of a run in a real browser: what a reader sees, does and is safe from."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from view_doubles import FakeRun, entry, failure

from archon.evals.rounding import decimal
from archon.evals.view.page import write_page
from archon.pages.document import static

HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
    "<svg onload='window.hacked=1'><!-- \ud800 \u202eevil\u202c \x00\x1b[31m"
)
NARROW = {"width": 360, "height": 740}
Open = Callable[..., Any]


@pytest.fixture
def open_page(open_file: Open, tmp_path: Path) -> Open:
    """Write the page of runs, and open it."""

    def open_runs(*runs: FakeRun, wait: str = "tr.row", **options: Any) -> Any:
        path = tmp_path / "page.html"
        write_page(runs, path)
        return open_file(path, wait, 10_000, **options)

    return open_runs


@pytest.fixture
def run() -> FakeRun:
    right = [entry(f"item-{n}", epoch=epoch) for n in range(30) for epoch in range(2)]
    return FakeRun([*right, failure("lost")], "rank-fuse", epochs=2)


def test_the_page_of_a_run_renders(open_page: Open, run: FakeRun) -> None:
    page = open_page(run)
    assert page.inner_text("h1") == "rank-fuse on sums"
    assert page.locator(".graph .node").count() == 6
    assert page.locator("svg.wires path").count() == 6
    assert page.locator("tr.row").count() == 31
    assert "95" in page.get_attribute(".score-card svg", "aria-label")
    assert "1 answer of 61 failed" in page.inner_text(".notice")


def test_curves_and_ablations_of_a_report_are_shown(open_page: Open, run: FakeRun) -> None:
    points = [
        {"k": k, "pass": 0.4 + k / 40, "pass_interval": [0.3, 0.9]}
        | {"vote": 0.4 + k / 80, "vote_interval": [0.3, 0.8]}
        for k in (1, 2, 4, 8, 16)
    ]
    run.report |= {"curves": {"draft": points}, "interrupted": True, "warnings": ["too small"]}
    run.report["ablations"] = [
        {"node": "best", "accuracy": 0.5, "difference": 0.1, "interval": [-0.1, 0.2]}
        | {"p_value": 0.4, "cost_tokens": 900.0}
    ]
    page = open_page(run)
    assert "pass@16 80.0" in page.get_attribute(".pictures svg", "aria-label")
    assert "+10.0" in page.inner_text(".node-panel")
    notices = " ".join(page.locator(".notice").all_inner_texts())
    assert "Not finished" in notices
    assert "too small" in notices


def test_items_are_filtered_by_words_and_outcome(open_page: Open, run: FakeRun) -> None:
    page = open_page(run)
    page.keyboard.press("/")
    page.keyboard.type("item-7")
    assert page.inner_text("#items-count") == "1 of 31"
    page.fill("#search", "")
    page.click("[data-outcome=failed]")
    assert page.locator("tr.row td.id").all_inner_texts() == ["lost"]
    page.click("[data-outcome=all]")
    page.click("th[data-key=cost] button")
    page.click("th[data-key=cost] button")
    costs = [
        int(text.replace(",", ""))
        for text in page.locator("td[data-name=Tokens]").all_inner_texts()
    ]
    assert costs == sorted(costs, reverse=True)
    page.fill("#search", "nothing is called this")
    assert "No item" in page.inner_text("#rows")


def test_a_node_shows_the_items_that_it_changed(open_page: Open, run: FakeRun) -> None:
    page = open_page(run)
    page.click(".graph .node:has-text('best')")
    page.click(".node-panel button")
    number = int(page.inner_text("#items-count").split()[0])
    assert 0 < number < 31
    page.click(".chip:has-text('changed by')")
    assert page.inner_text("#items-count") == "31"


def test_an_item_is_opened_by_click_and_left_by_escape(open_page: Open, run: FakeRun) -> None:
    page = open_page(run)
    page.click("tr.row:has-text('item-3')")
    page.wait_for_selector(".flow")
    assert page.url.endswith("#item=item-3")
    assert page.locator("#overview").is_hidden()
    page.click(".candidate >> nth=0")
    assert "wrote it" in page.inner_text(".story")
    page.click(".candidate.dropped >> nth=0")
    assert "dropped it: ranked" in page.inner_text(".story")
    assert page.locator(".wire.lit").count() > 0
    page.click("#item .calls .fold >> nth=0")
    assert "exemplar" in page.inner_text(".speech >> nth=0")
    page.keyboard.press("e")
    page.wait_for_selector(".tab[aria-pressed=true]:has-text('Epoch 1')")
    page.keyboard.press("Escape")
    page.wait_for_selector("tr.cursor:has-text('item-3')")


def test_an_item_is_opened_by_keyboard(open_page: Open, run: FakeRun) -> None:
    page = open_page(run)
    for key in ("j", "j", "ArrowDown", "k", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector(".flow")
    assert page.url.endswith("#item=item-1")
    page.keyboard.press("j")
    page.wait_for_selector("h1:has-text('item-2')")
    page.go_back()
    page.wait_for_selector("h1:has-text('item-1')")
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.url.endswith("#item=item-1")


def test_an_address_opens_its_item(open_page: Open, run: FakeRun) -> None:
    page = open_page(run)
    page.goto(page.url + "#item=item-5&epoch=1")
    page.reload()
    page.wait_for_selector("h1:has-text('item-5')")
    assert "Epoch 1" in page.inner_text(".tab[aria-pressed=true]")
    page.goto(page.url.split("#")[0] + "#item=%E0%A4%A&run=99")
    page.wait_for_selector("tr.row")


def test_hostile_texts_do_nothing(open_page: Open) -> None:
    texts = {"question": HOSTILE, "draft": HOSTILE, "critique": HOSTILE, "target": HOSTILE}
    run = FakeRun([entry(HOSTILE, **texts), failure("b", HOSTILE)], HOSTILE, warnings=[HOSTILE])
    run.description["versions"] = {HOSTILE: HOSTILE}
    page = open_page(run)
    page.click(".graph .node >> nth=2")
    page.click("tr.row:has-text('window.hacked')")
    page.wait_for_selector(".flow")
    page.click(".candidate >> nth=0")
    for fold in page.locator("#item details > summary").all():
        fold.click()
    page.click(".add >> nth=0")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert "<img src=x" in page.inner_text(".candidate-card .prose")
    assert "‹U+202E›" in page.inner_text(".candidate-card .prose")
    assert "<script>" in page.inner_text(".ranking")
    page.click(".back")
    page.click("tr.row:has-text('b')")
    assert "hacked" in page.inner_text(".error-text")


def test_a_long_text_is_folded(open_page: Open) -> None:
    page = open_page(FakeRun([entry("a", draft="word " * 200_000)]))
    page.click("tr.row")
    page.wait_for_selector(".flow")
    page.click(".candidate >> nth=0")
    body = page.locator(".candidate-body .prose").first
    assert len(body.inner_text()) < 2_000
    page.click(".candidate-body .more >> nth=0")
    assert len(body.text_content()) > 1_000_000


def test_preferences_are_ranked_and_downloaded(open_page: Open, run: FakeRun) -> None:
    page = open_page(run)
    page.click("tr.row:has-text('item-3')")
    page.wait_for_selector(".ranking")
    page.keyboard.press("r")
    for _ in range(3):
        page.click(".unranked .add >> nth=0")
    best = ".ranked > li >> nth=0"
    page.click(".ranked > li >> nth=2 >> [data-control=up]")
    page.keyboard.press("Alt+ArrowUp")
    order = [int(row.get_attribute("data-candidate")) for row in page.locator(".ranked > li").all()]
    assert order == [2, 0, 1]
    page.click(".ranked > li >> nth=2 >> [data-control=tie]")
    page.locator(".ranked > li >> nth=0 >> .prose").wait_for()
    texts = [text.strip() for text in page.locator(".ranked .prose").all_inner_texts()]
    pairs = download(page)
    question = page.inner_text(".question-text")
    assert pairs == [
        {"prompt": question, "chosen": texts[0], "rejected": texts[1]},
        {"prompt": question, "chosen": texts[0], "rejected": texts[2]},
    ]
    page.reload()
    page.wait_for_selector(best)
    assert download(page) == pairs


def test_ranked_rows_are_dragged(open_page: Open, run: FakeRun) -> None:
    page = open_page(run)
    page.click("tr.row:has-text('item-3')")
    for _ in range(3):
        page.click(".unranked .add >> nth=0")
    page.locator(".ranked").scroll_into_view_if_needed()
    first, last = (page.locator(f".ranked .handle >> nth={n}").bounding_box() for n in (0, 2))
    page.mouse.move(first["x"] + 5, first["y"] + 5)
    page.mouse.down()
    page.mouse.move(last["x"] + 5, last["y"] + 40, steps=5)
    page.mouse.up()
    order = [int(row.get_attribute("data-candidate")) for row in page.locator(".ranked > li").all()]
    assert order == [1, 2, 0]


def download(page: Any) -> list[dict[str, str]]:
    with page.expect_download() as waiting:
        page.click("#item .download")
    assert waiting.value.suggested_filename == "preferences-rank-fuse.jsonl"
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_several_runs_are_compared(open_page: Open) -> None:
    pytest.importorskip("scipy")
    entries = [entry(f"item-{n}") for n in range(8)]
    others = [(replace(record, score=1 - record.score), trace) for record, trace in entries]
    runs = [FakeRun(entries, "one", cost_tokens=90.0), FakeRun(others, "two", cost_tokens=4000.0)]
    page = open_page(*runs)
    assert page.locator(".runs tbody tr").count() == 2
    assert page.locator(".pairs tbody tr").count() == 1
    assert page.locator(".picture svg path.front").count() == 2
    page.click("[data-outcome=runs]")
    assert page.inner_text("#items-count") == "8"
    page.click("tr.row >> nth=0")
    page.wait_for_selector(".flow")
    assert page.locator("section[aria-labelledby=answers-title] tbody tr").count() == 2
    page.click("#item .tab:has-text('two')")
    page.wait_for_selector(".tab[aria-pressed=true]:has-text('two')")
    assert "run=1" in page.url


def test_a_thousand_items_of_sixteen_samples_open_in_two_seconds(
    open_page: Open, tmp_path: Path
) -> None:
    words = "I add the numbers one by one, and write down every step. " * 6
    page = open_page(FakeRun([entry(f"item-{n}", draft=f"{words}{n}") for n in range(1000)]))
    assert (tmp_path / "page.html").stat().st_size < 8_000_000
    started = time.perf_counter()
    page.reload()
    page.wait_for_selector("tr.row")
    assert time.perf_counter() - started < 2
    page.keyboard.press("G")
    page.wait_for_selector("tr.cursor:has-text('item-999')")
    assert page.locator("tr.row").count() < 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_no_sideways_scroll(open_page: Open, run: FakeRun, scheme: str) -> None:
    page = open_page(run, viewport=NARROW, color_scheme=scheme)
    width = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert page.evaluate(width) == [360, 360]
    page.click("tr.row >> nth=3")
    page.wait_for_selector(".flow")
    page.click(".candidate >> nth=0")
    for fold in page.locator("#item details > summary").all():
        fold.click()
    page.click(".add >> nth=0")
    assert page.evaluate(width) == [360, 360]


def test_a_comparison_fits_on_a_phone(open_page: Open, run: FakeRun) -> None:
    pytest.importorskip("scipy")
    page = open_page(run, FakeRun([entry("item-1")], "a-name-" * 12), viewport=NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_nested_architecture_can_be_opened(open_page: Open) -> None:
    record, trace = entry("a")
    assert trace is not None
    trace["nodes"][0]["calls"][0]["completions"][0]["trace"] = entry("inside")[1]
    page = open_page(FakeRun([(record, trace)]))
    page.click("tr.row")
    page.click("#item .calls .fold >> nth=0")
    page.click("#item .speech .fold >> nth=0")
    page.click(".speech .candidate >> nth=0")
    assert "wrote it" in page.inner_text(".speech .story")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_the_contrast_that_text_needs(
    open_page: Open, run: FakeRun, scheme: str
) -> None:
    page = open_page(run, color_scheme=scheme)
    names = ["ink", "soft", "accent", "right", "wrong", "lost", "failed"]
    grounds = ["ground", "surface", "raised"]
    colour = "name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`)"
    for ground in grounds:
        for name in names:
            ratio = contrast(page.evaluate(colour, name), page.evaluate(colour, ground))
            assert ratio >= 4.5, (name, ground, ratio)
    for name in ("accent", "right", "wrong", "lost", "failed"):
        own = contrast(page.evaluate(colour, name), page.evaluate(colour, f"{name}-ground"))
        assert own >= 4.5, (name, own)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = re.fullmatch(r"\s*#(..)(..)(..)\s*", colour)
    assert parts is not None, colour
    shares = [int(part, 16) / 255 for part in parts.groups()]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# ---------------------------------------------------------------------------- figures and places


SHARES = [
    *(n / 400 for n in range(-60, 61)),
    *(n / 10_000 for n in range(0, 1000, 7)),
    *(-1.25, 0.285, 0.145, 0.0305, 1e-7, -1e-7, 1 / 3, 2 / 3, 1.0, 0.0, -0.0, 0.99995),
]


def test_the_page_rounds_as_commands_do(open_page: Open, run: FakeRun) -> None:
    page = open_page(run)
    rule = static("format.js")
    for digits, places in ((0, 0), (1, 2), (0, 2), (3, 0)):
        script = (
            f"(values) => {{ {rule}; return values.map((v) => decimal(v, {digits}, {places})) }}"
        )
        found = page.evaluate(script, SHARES)
        assert [text.replace("−", "-") for text in found] == [
            decimal(value, digits, shift=places) for value in SHARES
        ]


def compared(costs: list[float], seconds: list[float]) -> list[FakeRun]:
    names = ["single", "self-consistency", "mixture-of-agents", "rank-fuse", "archon-reasoning"]
    return [
        FakeRun(
            [
                (replace(record, cost_tokens=int(cost), seconds=time), trace)
                for record, trace in (entry(f"item-{n}") for n in range(6))
            ],
            name,
            cost_tokens=cost,
            accuracy_interval=[0.2, 0.2 + 0.1 * place + 0.3],
            accuracy=0.3 + 0.05 * place,
        )
        for place, (name, cost, time) in enumerate(zip(names, costs, seconds, strict=True))
    ]


BOXES = """() => {
  const box = (one) => {
    const { x, y, width: w, height: h } = one.getBBox();
    return { x, y, w, h };
  };
  return [...document.querySelectorAll("#fronts-title ~ .pictures svg.chart")].map((chart) => ({
    texts: [...chart.querySelectorAll("text")].map((text) => (
      { text: text.textContent, name: text.classList.contains("name"), ...box(text) })),
    bars: [...chart.querySelectorAll("line.error")].map(box),
  }));
}"""


def overlaps(a: dict[str, float], b: dict[str, float]) -> bool:
    across = min(a["x"] + a["w"], b["x"] + b["w"]) - max(a["x"], b["x"])
    down = min(a["y"] + a["h"], b["y"] + b["h"]) - max(a["y"], b["y"])
    return across > 0.5 and down > 0.5


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
@pytest.mark.parametrize(
    ("costs", "seconds"),
    [
        ([42, 150, 420, 1301, 1796], [0.06, 0.1, 0.3, 0.4, 1.4]),
        ([1000, 1010, 1020, 1030, 1040], [2.0, 2.01, 2.02, 2.03, 2.04]),
        ([42, 43, 90_000, 91_000, 1_200_000], [0.01, 0.011, 60, 61, 4000]),
    ],
    ids=["spread", "crowded", "far"],
)
def test_names_and_ticks_hide_nothing(
    open_page: Open, width: int, costs: list[float], seconds: list[float]
) -> None:
    pytest.importorskip("scipy")
    runs = compared(costs, seconds)
    page = open_page(*runs, viewport={"width": width, "height": 800})
    charts = page.evaluate(BOXES)
    assert len(charts) == 2
    for chart in charts:
        for place, text in enumerate(chart["texts"]):
            clashes = [o["text"] for o in chart["texts"][place + 1 :] if overlaps(text, o)]
            assert not clashes, (text["text"], clashes)
            if text["name"]:
                assert not [bar for bar in chart["bars"] if bar["h"] > 1 and overlaps(text, bar)]
    shown = page.inner_text("#fronts-title ~ .pictures")
    assert all(run.report["architecture"][:17] in shown for run in runs)


def test_partial_scores_and_answers_without_a_value_are_shown(open_page: Open) -> None:
    half = [(replace(record, score=0.5), trace) for record, trace in [entry("half")]]
    report = {
        "answer": "number", "num_without_value": 3, "mean_score": 0.0625, "accuracy": 0.0,
        "mean_score_interval": [0.0125, 0.25], "num_errors": 2,
        "errors": [{"cause": "NodeError: node 'draft': cannot connect", "count": 2}],
    }  # fmt: skip
    page = open_page(FakeRun([*half, failure("lost")], "rank-fuse", **report))
    assert "mean score 0.063, 95% interval 0.013 – 0.250" in page.inner_text(".score-card")
    notices = " ".join(page.locator(".notice").all_inner_texts())
    assert "3 answers of 2 state no number" in notices
    assert "failed, and count as wrong: 2 × node 'draft': cannot connect" in notices
    assert "0.50" in page.inner_text("tr.row:has-text('half')")
