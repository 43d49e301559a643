"""The page of a study in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from stored_studies import IDENTITY, SPACE, finals, finished, plenty, running, stored

from archon.study.view.page import write_study_page

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
Open = Callable[..., Any]


@pytest.fixture
def open_page(open_file: Open, tmp_path: Path) -> Open:
    """Write the page of a study, and open it."""

    def open_study(*trials: Any, **attributes: Any) -> Any:
        path = tmp_path / "page.html"
        options = attributes.pop("options", {})
        write_study_page(stored(*trials, **attributes), path)
        return open_file(path, "html[data-ready]", 30_000, **options)

    return open_study


def test_a_reader_sees_accuracies_front_parameters_and_trials(open_page: Open) -> None:
    page = open_page(*plenty(), finals_held=[finals(1)])
    assert page.inner_text("h1") == "tiny on sums"
    names = page.locator(".number-row b").all_inner_texts()
    assert names == ["test", "select", "search"]
    assert "+5.0 points" in page.inner_text(".against")
    assert page.locator("#front-title ~ .pictures figure").count() == 3
    assert page.locator(".slice").count() == 4
    assert page.locator(".trials tbody tr").count() == 30
    assert page.locator(".trial.winner").count() > 0
    page.locator(".trials thead button", has_text="Accuracy").click()
    first = page.locator(".trials tbody tr").first.inner_text()
    best = max(json.loads(page.inner_text("#data"))["trials"], key=lambda t: t["accuracy"] or 0)
    assert f"{100 * best['accuracy']:.1f}" in first
    page.get_by_role("button", name="on the front").first.click()
    assert page.locator(".graph .node").count() >= 2
    page.locator("summary", has_text="Architecture file").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").click()
    saved = json.loads(Path(download.value.path()).read_text())
    assert saved["version"] == 1


@pytest.mark.parametrize(
    ("trials", "text"),
    [
        ([], "No trial has finished yet"),
        ([finished(0, "failed"), finished(1, "rejected")], "there is no winner yet"),
        ([running(0, "elsewhere/1/0")], "1 trial is in progress"),
        ([finished(0)], "at least 20 trials are needed, 1 so far"),
    ],
)
def test_a_small_study_reports_what_is_missing(
    open_page: Open, trials: list[Any], text: str
) -> None:
    assert text in open_page(*trials).inner_text("main")


def test_a_narrow_page_does_not_scroll_sideways(open_page: Open) -> None:
    narrow = {"viewport": {"width": 360, "height": 740}}
    page = open_page(*plenty(), finals_held=[finals(1)], options=narrow)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360


def test_text_of_a_space_is_not_markup(open_page: Open) -> None:
    space = SPACE | {"name": HOSTILE, "description": HOSTILE}
    page = open_page(finished(0), identity=IDENTITY | {"space": space})
    assert HOSTILE in page.inner_text("h1")
    assert page.evaluate("window.hacked") is None
