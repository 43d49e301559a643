"""Short reprs, and HTML for notebooks, in which all texts are escaped."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from api_doubles import single

import archon
from archon.graph.svg import svg
from archon.spec import catalog

HOSTILE = "<script>alert('5')</script>&"


def solve(messages: Any) -> str:
    return f"{HOSTILE} The answer is 5."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> archon.Run:
    architecture = archon.load(single(name=HOSTILE, description=HOSTILE), solve)
    rows = [{"question": f"{HOSTILE} {a} + 1?", "answer": a + 1, "kind": "sum"} for a in range(5)]
    report = archon.evaluate(
        architecture, rows, split="all", output=tmp_path_factory.mktemp("runs") / "run"
    )
    return archon.read_run(report.run)


def test_no_text_becomes_markup(run: archon.Run) -> None:
    architecture = archon.load(single(name=HOSTILE, description=HOSTILE), solve)
    shown: list[Any] = [architecture, architecture.run(HOSTILE), run, run.report()]
    shown.append(archon.graph(HOSTILE, models={"solver": solve}).generator("draft"))
    for each in shown:
        html = each._repr_html_()
        assert "<script" not in html, each
        assert "&lt;script" in html, each
        assert len(repr(each)) < 300, each
        assert repr(each).startswith(f"<{type(each).__name__}"), each
        without_breaks = html.replace("&nbsp;", " ")
        ElementTree.fromstring(without_breaks)


@pytest.mark.parametrize("name", catalog.names("architecture"))
def test_a_graph_is_drawn_from_left_to_right(name: str) -> None:
    architecture = archon.load(name)
    root = ElementTree.fromstring(svg(architecture.graph))
    space = "{http://www.w3.org/2000/svg}"
    boxes = root.findall(f"{space}rect")
    assert len(boxes) == len(architecture.spec.nodes) + 2
    places = {(box.get("x"), box.get("y")) for box in boxes}
    assert len(places) == len(boxes)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for box in boxes:
        x, y = float(box.get("x", -1)), float(box.get("y", -1))
        assert x >= 0
        assert y >= 0
        assert x + float(box.get("width", 0)) <= width
        assert y + float(box.get("height", 0)) <= height
    assert "http" not in svg(architecture.graph).replace("http://www.w3.org/2000/svg", "")


def test_the_repr_of_a_report_has_the_interval(run: archon.Run) -> None:
    report = run.report()
    assert "20.0% [" in repr(report)
    assert "of 5 items" in repr(report)
    assert "lack token counts" in report._repr_html_()


def test_the_records_are_a_data_frame(run: archon.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(DataFrame=lambda rows: list(rows))
    monkeypatch.setitem(sys.modules, "pandas", fake)  # type: ignore[arg-type]
    rows: Any = run.to_pandas()
    assert len(rows) == 5
    assert {"item", "question", "value", "score", "prompt_tokens", "metadata.kind"} <= set(rows[0])


def test_an_empty_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(archon.UsageError):
        archon.read_run(tmp_path)


def test_a_notebook_shows_the_progress_without_widgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs: list[dict[str, str]] = []
    handle = SimpleNamespace(update=lambda data, raw: outputs.append(data))

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Any:
        outputs.append(data)
        return handle

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setitem(
        sys.modules,
        "IPython.display",
        SimpleNamespace(display=display),
    )
    rows = [{"question": f"{a} + 1?", "answer": a + 1} for a in range(5)]
    archon.evaluate(archon.load(single(name=HOSTILE), solve), rows, split="all")
    assert outputs[-1]["text/plain"].endswith("(5 of 5)")
    assert '<progress value="5" max="5">' in outputs[-1]["text/html"]
    assert not [output for output in outputs if "<script" in output["text/html"]]
    count = len(outputs)
    archon.evaluate(archon.load(single(), solve), rows, split="all", progress=False)
    assert len(outputs) == count
