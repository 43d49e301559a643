"""The index page of a folder of runs in a real browser."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archon.evals.collection.index_page import IndexData, html
from archon.evals.statistics import holm, paired_interval, paired_p_value, wilson_interval

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'> \ud800"
START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("single", "self-consistency", "program-and-prose", "rank-fuse")
Open = Callable[..., Any]


def make_run(number: int, **changes: Any) -> dict[str, Any]:
    rng = random.Random(number)
    share, items = rng.uniform(0.2, 0.8), 50 + number % 3 * 25
    marks = "".join("1" if rng.random() < share else "0" for _ in range(items))
    accuracy = marks.count("1") / items
    name = NAMES[number % 4]
    return {
        "path": f"runs/{number:04d}-{name}",
        "state": "finished",
        "reason": None,
        "num_asked": items,
        "num_runs": items,
        "num_items": items,
        "num_errors": 0,
        "architecture": name,
        "models": {"solver": "tiny", "judge": f"model-{number % 5}"},
        "benchmark": ("gsm8k", "sums")[number % 2],
        "split": "select",
        "scorer": "number-exact",
        "epochs": 1,
        "seed": 0,
        "accuracy": accuracy,
        "accuracy_interval": wilson_interval(accuracy, items),
        "cost_tokens": 100.0 + rng.randrange(2000),
        "start_time": (START + timedelta(hours=number)).isoformat(),
        "comparison": None,
        "href": f"{number}/view.html" if number % 7 == 0 else None,
        "marks": marks,
    } | changes


def damaged(path: str, reason: str) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("architecture", "models", "benchmark", "split", "accuracy", "start_time")
    )
    return make_run(1) | empty | {
        "path": path, "state": "damaged", "reason": reason, "marks": "", "href": None,
        "num_asked": None, "num_items": 0, "num_runs": 0, "cost_tokens": None,
    }  # fmt: skip


@pytest.fixture
def open_index(open_file: Open, tmp_path: Path) -> Open:
    """Write the index page of rows, and open it."""

    def open_rows(runs: list[dict[str, Any]], **options: Any) -> Any:
        groups = {name: options.pop(name, []) for name in ("comparisons", "studies")}
        data = IndexData({"folder": "runs", "runs": runs, **groups}, "key")
        path = tmp_path / "index.html"
        path.write_text(html(data, datetime.now(UTC), live=False), encoding="utf-8")
        return open_file(path, "html[data-ready]", 30_000, **options)

    return open_rows


def choose(page: Any, *paths: str) -> None:
    for path in paths:
        page.check(f"tr[data-path='{path}'] input")


def test_five_hundred_runs_are_listed_filtered_and_sorted(open_index: Open) -> None:
    runs = [make_run(number) for number in range(498)]
    runs.append(make_run(498, state="interrupted", num_runs=9, num_asked=50))
    page = open_index([*runs, damaged("runs/0499-x", "run.json is damaged")])
    assert page.locator("#rows .row").count() == 500
    assert "This page was made" in page.inner_text(".lead")
    dates = page.locator("#rows .row .run .below").all_inner_texts()[:3]
    assert dates[0].startswith("runs/0498")
    page.click("th[data-key=accuracy] button")
    shown = [float(t[:-1]) for t in page.locator("#rows .accuracy b").all_inner_texts()[:499]]
    assert shown == sorted(shown, reverse=True)
    page.fill("#search", "rank gsm8k")
    assert page.inner_text("#runs-count") == "0 of 500"
    page.fill("#search", "program model-3")
    expected = [r for r in runs if "program" in r["path"] and r["models"]["judge"] == "model-3"]
    assert page.inner_text("#runs-count") == f"{len(expected)} of 500"
    page.fill("#search", "")
    page.click("[data-state=interrupted]")
    assert "interrupted, 9 of 50" in page.inner_text("#rows")
    page.click("[data-state=damaged]")
    assert "run.json is damaged" in page.inner_text("#rows")
    assert page.locator("#rows input:disabled").count() == 1


def test_a_selection_is_compared_as_by_the_command(open_index: Open) -> None:
    runs = [make_run(number) for number in (0, 2, 4, 5)]
    runs[3] |= {"benchmark": "gsm8k", "split": "test"}
    page = open_index(runs)
    choose(page, "runs/0000-single", "runs/0002-program-and-prose", "runs/0004-single")
    assert page.is_disabled("tr[data-path='runs/0005-self-consistency'] input")
    page.click("#selection .download")
    rows = page.locator("#compared .pairs tbody tr")
    pairs = [(0, 1), (0, 2), (1, 2)]
    order = [0, 1, 2]
    differences = [
        [int(x) - int(y) for x, y in zip(runs[a]["marks"], runs[b]["marks"], strict=False)]
        for a, b in ((order[i], order[j]) for i, j in pairs)
    ]
    found = [row.split("\n") for row in rows.all_inner_texts()]
    assert len(found) == 3
    adjusted = holm([paired_p_value(one) for one in differences])
    for row, p_value, one in zip(rows.all(), adjusted, differences, strict=True):
        low, high = paired_interval(one)
        label = row.locator("svg").get_attribute("aria-label").replace("−", "-")
        bounds = [float(part) for part in label.split("interval ")[1].split(" – ")]
        # The page computes what the command samples: they differ by one item at most.
        assert bounds == pytest.approx([100 * low, 100 * high], abs=101 / len(one))
        shown = row.locator("[data-name=p]").inner_text().split("\n")[0]
        assert float(shown.lstrip("< ")) == pytest.approx(p_value, abs=0.001)
        assert row.locator("[data-name=items]").inner_text() == str(len(one))
    assert "McNemar's exact test, corrected" in page.inner_text(".method")
    page.click("#selection button:has-text('Clear')")
    assert page.locator("#compared").is_hidden()


def test_several_epochs_are_compared_by_a_sign_flip_test(open_index: Open) -> None:
    rng = random.Random(5)
    shares = [[rng.choice((0, 0.5, 1)) for _ in range(40)] for _ in range(2)]
    runs = [make_run(n, marks=marks, epochs=2) for n, marks in zip((0, 2), shares, strict=True)]
    page = open_index(runs)
    choose(page, *(run["path"] for run in runs))
    page.click("#selection .download")
    assert "a sign-flip test over items" in page.inner_text(".method")
    differences = [a - b for a, b in zip(*shares, strict=True)]
    if page.locator("#compared th[scope=row]").first.inner_text().startswith("program"):
        differences = [-one for one in differences]
    shown = float(page.inner_text("#compared .pairs [data-name=p]").split("\n")[0])
    assert shown == pytest.approx(paired_p_value(differences), abs=0.03)
    label = page.get_attribute("#compared .pairs svg", "aria-label").replace("−", "-")
    bounds = [float(part) for part in label.split("interval ")[1].split(" – ")]
    low, high = paired_interval(differences)
    assert bounds == pytest.approx([100 * low, 100 * high], abs=2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(open_index: Open, scheme: str) -> None:
    study = {
        "path": "runs/" + "s" * 60, "name": "s", "state": "finished", "reason": None,
        "space": "tiny", "benchmark": "gsm8k", "num_trials": 30, "accuracy": 0.5,
        "accuracy_interval": [0.4, 0.6], "accuracy_split": "test", "cost_tokens": 900.0,
        "start_time": START.isoformat(), "href": None,
    }  # fmt: skip
    runs = [make_run(n, path=f"runs/{n}-" + "x" * 80) for n in range(4)]
    pair = {"path": "runs/both", "runs": [runs[0]["path"], runs[2]["path"]], "href": None}
    page = open_index(
        [*runs, damaged("runs/bad" + "y" * 90, HOSTILE)],
        comparisons=[pair],
        studies=[study],
        viewport={"width": 360, "height": 740},
        color_scheme=scheme,
    )
    page.click(".comparisons button")
    assert page.locator("#compared .pairs tbody tr").count() == 1
    assert "on test, unseen before" in page.inner_text(".studies")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
