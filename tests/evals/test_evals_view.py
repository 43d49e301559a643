"""Pages of runs: their data, and that no part of it can run."""

from __future__ import annotations

import base64
import json
import random
import re
import zlib
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from view_doubles import DRAFTS, EXEMPLARS, FakeRun, entry, failure

from archon.cli import main
from archon.evals.run import read_run
from archon.evals.view.page import SCRIPTS, STYLES, html
from archon.evals.view.page_data import Page, gather
from archon.evals.view.source import StoredRun
from archon.graph.drops import drops
from archon.pages.document import embedded

HOSTILE = (
    "</script><script>window.hacked = 1</script><!-- <img src=x onerror='window.hacked = 1'>"
    " {{chunks}} \ud800 \u202e \x00 & \u2028"
)


def unpacked(chunk: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(chunk)))


def answer(page: Page, place: int = 0) -> dict[str, Any]:
    """An opened chunk."""
    data: dict[str, Any] = unpacked(page.chunks[place])
    return data


# -------------------------------------------------------------------------------- what is gathered


def test_every_answer_has_a_row_and_a_chunk() -> None:
    run = FakeRun([entry("b-10"), entry("b-9"), entry("b-9", epoch=1), failure("a")])
    page = gather([run])
    assert [item["id"] for item in page.summary["items"]] == ["a", "b-9", "b-10"]
    rows = page.summary["rows"][0]
    assert [(row["item"], row["epoch"], row["chunk"]) for row in rows] == [
        (0, 0, 0),
        (1, 0, 1),
        (1, 1, 2),
        (2, 0, 3),
    ]
    assert rows[0]["outcome"] == "failed"
    assert answer(page, 0)["error"] == "LMError: it did not answer"
    assert answer(page, 0)["trace"] is None
    assert answer(page, 1)["trace"]["candidates"]


def test_the_page_does_not_depend_on_the_order_of_answers() -> None:
    entries = [entry(f"item-{n}", epoch=epoch) for n in range(12) for epoch in range(2)]
    shuffled = entries[:]
    random.Random(0).shuffle(shuffled)
    assert html(gather([FakeRun(entries)])) == html(gather([FakeRun(shuffled)]))


def test_messages_of_several_answers_are_kept_once() -> None:
    page = gather([FakeRun([entry("a"), entry("b")])])
    shared = unpacked(page.shared)
    assert sorted(shared) == sorted({message["content"] for message in EXEMPLARS})
    data = answer(page)
    message = data["trace"]["nodes"][0]["calls"][0]["messages"][0]
    assert (message[0], shared[-1 - message[1]]) == ("user", EXEMPLARS[0]["content"])
    assert not any(text in data["texts"] for text in shared)


def test_a_candidate_has_its_parents_and_score() -> None:
    trace = answer(gather([FakeRun([entry("a")])]))["trace"]
    by_name = {(one["node"], one["draw"]): one for one in trace["candidates"]}
    assert len(by_name) == DRAFTS + 2
    fused = by_name["merged", 0]
    best = next(node for node in trace["nodes"] if node["node"] == "best")
    assert fused["parents"] == best["outputs"]
    for draw in range(DRAFTS):
        one = by_name["draft", draw]
        assert one["right"] == (one["value"] == "7")


def test_a_dropped_candidate_has_a_reason() -> None:
    trace = answer(gather([FakeRun([entry("a")])]))["trace"]
    nodes = {node["node"]: node for node in trace["nodes"]}
    assert len(nodes["best"]["drops"]) == DRAFTS - 3
    places = {
        re.match(r"ranked (\d+) of 16; the first 3", d["why"])[1] for d in nodes["best"]["drops"]
    }  # type: ignore[index]
    assert places == {str(place) for place in range(4, 17)}
    (judged,) = nodes["check"]["drops"]
    assert judged["why"] == "judged incorrect"
    assert answer(gather([FakeRun([entry("a")])]))["texts"][judged["argument"]].startswith("No.")
    assert all(drop["fused"] for drop in nodes["merged"]["drops"])
    reasons = {drop["why"] for drop in nodes["answer"]["drops"]}
    assert any(why.startswith("votes for draft ") for why in reasons)
    assert "states no value, so it has no vote" in reasons


def test_a_verifier_that_passed_a_candidate_may_still_cut_it_off() -> None:
    _, trace = entry("a")
    assert trace is not None
    node = next(node for node in trace["nodes"] if node["node"] == "check")
    node["calls"][1]["completions"][0]["text"] = "Fine.\nVerdict: correct"
    candidates = {
        ("merged", one["id"]["draw"]): one
        for other in trace["nodes"]
        for one in other["outputs"]
        if one["id"]["node"] == "merged"
    }
    (drop,) = drops(node, candidates)
    assert drop.reason.why == "judged correct, but only the first 1 are kept"


def test_a_verifier_without_a_model_has_a_reason_for_a_drop() -> None:
    one = {"id": {"node": "draft", "draw": 0}, "text": "1 + 1 = 3", "value": "3", "annotations": []}
    note = {"node": "check", "kind": "verdict", "value": "fail", "reason": "1 + 1 = 3 is wrong"}
    node = {
        "node": "check",
        "type": "verifier",
        "inputs": [one["id"]],
        "outputs": [],
        "dropped": [{**one, "annotations": [note]}],
        "calls": [],
    }
    (drop,) = drops(node, {("draft", 0): one})
    assert (drop.reason.why, drop.reason.argument) == ("judged incorrect", "1 + 1 = 3 is wrong")


def test_nodes_count_how_often_they_changed_the_answer() -> None:
    run = FakeRun([entry(f"item-{n}") for n in range(20)])
    page = gather([run])
    tallies = {tally["node"]: tally for tally in page.summary["runs"][0]["tallies"]}
    assert tallies["draft"]["led"] == 0
    assert (tallies["notes"]["led"], tallies["notes"]["changed"]) == (20, 0)
    best = tallies["best"]
    assert 0 < best["changed"] <= 20
    assert best["helped"] + best["hurt"] <= best["changed"]
    assert best["dropped"] == 20 * (DRAFTS - 3)
    assert tallies["merged"]["dropped"] == 0
    rows = page.summary["rows"][0]
    assert sum("best" in row["changed"] for row in rows) == best["changed"]


def test_an_answer_may_be_wrong_although_a_candidate_was_right() -> None:
    record, trace = entry("a")
    record = replace(record, score=0)
    (row,) = gather([FakeRun([(record, trace)])]).summary["rows"][0]
    assert (row["outcome"], row["some_right"]) == ("wrong", True)
    values = [draw.value for draw in record.draws["draft"]]
    most = max(values.count(value) for value in set(values) - {None})
    assert row["agreement"] == most / DRAFTS


def test_a_nested_architecture_is_shown_within_its_completion() -> None:
    record, trace = entry("a")
    _, inner = entry("inside")
    assert trace is not None
    trace["nodes"][0]["calls"][0]["completions"][0]["trace"] = inner
    data = answer(gather([FakeRun([(record, trace)])]))
    nested = data["trace"]["nodes"][0]["calls"][0]["completions"][0]["trace"]
    assert len(nested["candidates"]) == DRAFTS + 2


def test_several_runs_are_compared() -> None:
    pytest.importorskip("scipy")
    runs = [
        FakeRun([entry("a"), entry("b")], "one"),
        FakeRun([entry("b"), failure("a")], "one"),
    ]
    summary = gather(runs).summary
    assert [run["name"] for run in summary["runs"]] == ["one", "one (2)"]
    (pair,) = summary["comparison"]["pairs"]
    assert (pair["runs"], pair["num_items"]) == ([0, 1], 2)
    assert len({row["chunk"] for rows in summary["rows"] for row in rows}) == 4


# ------------------------------------------------------------------------------ nothing can run


def test_no_text_of_the_data_is_markup_of_the_page() -> None:
    run = FakeRun(
        [
            entry(HOSTILE, question=HOSTILE, draft=HOSTILE, critique=HOSTILE, target=HOSTILE),
            failure("b", error=HOSTILE),
        ],
        HOSTILE,
        warnings=[HOSTILE],
    )
    page = gather([run])
    text = html(page)
    assert text.count("<script") == text.count("</script>") == 2 + 1 + len(page.chunks)
    assert "<img" not in text
    assert "<!--" not in text
    summary = re.search(r'id="summary">(.*?)</script>', text)
    assert summary is not None
    assert json.loads(summary[1]) == json.loads(json.dumps(page.summary))
    assert json.loads(summary[1])["items"][0]["id"] == HOSTILE
    assert HOSTILE in answer(page)["texts"]


def test_json_in_a_page_has_no_tags() -> None:
    assert "<" not in embedded({"</script>": ["<!--", "<script>"]})


def test_the_policy_names_the_only_style_and_the_only_script() -> None:
    text = html(gather([FakeRun([entry("a")])]))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    for part, name in ((style, "style-src"), (script, "script-src")):
        assert part is not None
        digest = base64.b64encode(sha256(part[1].encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy[1]


def test_nothing_is_fetched_and_no_markup_is_made_of_texts() -> None:
    shared, own = (files(name).joinpath("static") for name in ("archon.pages", "archon.evals.view"))
    assert {file.name for file in own.iterdir()} == {"page.html", *STYLES, *SCRIPTS}
    for file in (*shared.iterdir(), *own.iterdir()):
        if file.name.endswith(".html"):
            continue
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert not re.search(r"fetch\(|XMLHttp|import |@import|url\(", text)
        urls = re.findall(r"https?://[^\s\"']+", text)
        assert urls in ([], ["http://www.w3.org/2000/svg"])


# --------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "single"
    options = ["--model", "solver=scripted", "--limit", "3", "--output", str(folder)]
    assert main(["eval", "single", "smoke", *options]) == 0
    return folder


def test_view_writes_a_page_into_the_folder(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["view", str(run_folder), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"output": str(run_folder / "view.html"), "runs": 1, "num_items": 3}
    assert "<!doctype html>" in (run_folder / "view.html").read_text()


def test_the_page_of_several_runs_is_written_here(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scipy")
    monkeypatch.chdir(tmp_path)
    assert main(["view", str(run_folder), str(run_folder)]) == 0
    assert (tmp_path / "compare.html").exists()


def test_view_opens_the_page_on_request(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    output = tmp_path / "page.html"
    assert main(["view", str(run_folder), "--output", str(output), "--open"]) == 0
    assert opened == [output.as_uri()]


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_view_refuses_a_folder_without_a_run(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["view", str(tmp_path / what)]) == 2
    assert str(tmp_path / what) in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_refused(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "nowhere" / "page.html"
    assert main(["view", str(run_folder), "--output", str(output)]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_killed_run_is_shown_with_its_finished_answers(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((run_folder / "run.json").read_bytes())
    assert gather([StoredRun(read_run(tmp_path))]).chunks == []
    journal = (run_folder / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(journal[:-10])
    page = gather([StoredRun(read_run(tmp_path))])
    (run,) = page.summary["runs"]
    assert (run["report"]["interrupted"], run["num_asked"], len(page.chunks)) == (True, 3, 2)
