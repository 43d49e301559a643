"""Stored runs: the contents of the report, and the description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eval_doubles import make_record

import archon
from archon import api
from archon.errors import SpecError, UsageError
from archon.evals.folder import RunFolder
from archon.evals.journal import JournalWriter, encode
from archon.evals.runner import Evaluation
from archon.types import Example

RUN: dict[str, Any] = {
    "version": 1,
    "digest": "0" * 32,
    "specification": {
        "architecture": {"name": "fake", "nodes": {"draft": {}}},
        "models": {"solver": {"name": "tiny"}, "inner": {"architecture": {"name": "single"}}},
        "prompts": {},
        "benchmark": {"name": "sums", "score": "number-exact"},
        "seed": 7,
    },
    "items": {"split": "test", "count": 4, "digest": ""},
    "limit": 4,
    "epochs": 1,
}


def make_run(path: Path, lines: list[bytes]) -> archon.Run:
    folder = RunFolder.create(path, "x")
    folder.write_description(RUN)
    if lines:
        writer = JournalWriter(folder.journal)
        for line in lines:
            writer.append(line)
        writer.close()
    return archon.read_run(path)


def test_the_report_adds_up_answers_and_time_of_all_sessions(
    tmp_path: Path,
) -> None:
    lines = [
        encode(1, 2.0, make_record("d", 1), None),
        encode(1, 1.5, make_record("a", 1), None),
        encode(2, 3.0, make_record("c", 0), None),
    ]
    run = make_run(tmp_path, lines)
    report = run.report()
    assert (report.num_runs, report.interrupted, report.wall_seconds) == (3, True, 5.0)
    assert (report.architecture, report.split, report.seed) == ("fake", "test", 7)
    assert report.models == {"solver": "tiny", "inner": "single"}
    assert [record.item for record in run.records()] == ["a", "c", "d"]
    assert [entry.record.item for entry in run.entries()] == ["d", "a", "c"]


def test_a_run_that_was_stopped_before_its_first_answer_has_an_empty_report(tmp_path: Path) -> None:
    report = make_run(tmp_path, []).report()
    assert (report.num_runs, report.accuracy, report.interrupted) == (0, None, True)


def test_a_journal_of_another_version_is_named(tmp_path: Path) -> None:
    line = encode(1, 0.0, make_record("a", 1), None)
    stamp, record, trace = line.split(b" ", 2)[2].rstrip(b"\n").split(b"\t")
    data = {**json.loads(record), "version": 2}
    payload = b"\t".join([stamp, json.dumps(data).encode(), trace])
    import zlib

    run = make_run(tmp_path, [b"%d %08x %b\n" % (len(payload), zlib.crc32(payload), payload)])
    with pytest.raises(SpecError, match=r"journal: unknown version of records: 2"):
        run.records()


def test_a_folder_without_a_run_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not contain a run"):
        archon.read_run(tmp_path)


# ----------------------------------------------------------------------- what an answer depends on


def specification(spec: dict[str, Any], **options: Any) -> dict[str, Any]:
    data: dict[str, Any] = archon.load(spec).specification("number", options.get("examples"))
    return data


def single(**node: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "one",
        "models": {"solver": "scripted"},
        "nodes": {"draft": {"type": "generator", "model": "solver", **node}},
        "output": "draft",
    }


def test_names_are_resolved(tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    by_path = single() | {"models": {"solver": str(card)}}
    written = {"name": "scripted", "backend": "scripted", "accuracy": 0.25}
    card.write_text(json.dumps(written))
    before = specification(by_path)
    assert before["models"]["solver"]["accuracy"] == 0.25
    card.write_text(json.dumps(written | {"accuracy": 0.75}))
    assert specification(by_path) != before


def test_a_nested_architecture_is_part_of_it() -> None:
    outer = single(prompt={"template": "bare"})
    outer["models"] = {"solver": {"architecture": "self-consistency"}}
    nested = specification(outer)["models"]["solver"]
    assert nested["architecture"]["name"] == "self-consistency"
    assert nested["models"]["solver"]["name"] == "qwen2.5-coder-0.5b"


def test_the_examples_of_a_prompt_are_part_of_it() -> None:
    spec = single(prompt={"template": "cot", "shots": 1})
    one = specification(spec, examples=(Example("1 + 1?", "", "2"),))
    other = specification(spec, examples=(Example("1 + 1?", "", "two"),))
    assert one != other
    assert one["prompts"]["draft"]["opening"][0][0] == "user"


def test_the_digest_does_not_depend_on_how_many_items_are_asked() -> None:
    architecture = archon.load("single", models={"solver": "scripted"})

    def digest(**options: Any) -> str:
        items = api.benchmark("smoke", limit=options.pop("limit", 2))
        return str(Evaluation.of(architecture, items, **options).description["digest"])

    assert digest() == digest(limit=3) == digest(epochs=2)
    assert digest() != digest(seed=1)
