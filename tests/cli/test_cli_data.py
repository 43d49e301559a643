"""Data files on the command line, in place of benchmarks and by mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runner import SCRIPTED, Cli


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("data.jsonl", b'{"question": "q", "answer": "1"}\n', "JSON Lines"),
        ("data.json", b'{"question": "q"}\n{"question": "r"}\n', "JSON Lines"),
        ("data.json", b'\xef\xbb\xbf{"question": "q"}\r\n{"question": "r"}\r\n', "JSON Lines"),
        ("data.ndjson", b"", "JSON Lines"),
        ("data.csv", b"question,answer\n", "CSV"),
        ("data.TSV", b"question\tanswer\n", "TSV"),
        ("data.parquet", b"PAR1\x00", "Parquet"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "DATA", "smoke"],
        ["compare", "DATA", "single", "-b", "smoke", *SCRIPTED],
        ["run", "DATA", "Why?"],
        ["show", "DATA"],
    ],
    ids=" ".join,
)
def test_data_given_instead_of_an_architecture_is_recognized(
    cli: Cli, arguments: list[str], prefix: str, name: str, content: bytes, what: str
) -> None:
    if arguments[0] == "search":
        pytest.importorskip("optuna")
    Path(name).write_bytes(content)
    path = f"{prefix}{name}"
    assert cli(*(path if one == "DATA" else one for one in arguments)) == 2
    assert f"is a data file ({what})" in cli.stderr
    assert f"archon eval ARCH {path}" in cli.stderr


def test_own_data_is_evaluated_in_one_command_and_kept_through_to_the_export(cli: Cli) -> None:
    text = "prompt;label;topic\nWhat is 1 + 1?;2;easy\nWhat is 1 + 2?;['3','4'];hard\n"
    Path("data.csv").write_text(text.replace("'", '"'), "utf-8")
    arguments = ("eval", "single", "data.csv", "--split", "all", "--output", "o", *SCRIPTED)
    report = cli.json(*arguments, "--answer", "text")
    assert (report["num_items"], report["split"], report["answer"]) == (2, "all", "text")
    assert "question: column 'prompt'; target: column 'label'; answers: text" in cli.stderr
    assert "all 2 rows are used" in cli.stderr
    records = cli.json("export", "o")["records"]
    assert [record["metadata"] for record in records] == [{"topic": "easy"}, {"topic": "hard"}]
    assert records[1]["targets"] == ["3", "4"]
    assert json.loads(Path("o/run.json").read_text("utf-8"))["data"] == "data.csv"
    assert cli(*arguments, "--answer", "text", "--resume") == 0
    Path("data.csv").write_text(text.replace("'", '"').replace("4", "5"), "utf-8")
    assert cli(*arguments, "--answer", "text", "--resume") == 2
    assert "items" in cli.stderr


def test_a_data_file_is_validated_as_it_would_be_read(cli: Cli) -> None:
    Path("data.csv").write_text("prompt,label\n" + "".join(f"q{n},{n}\n" for n in range(10)))
    assert cli("validate", "data.csv") == 0
    assert "target: column 'label'; answers: number; 3 search, 3 select, 4 test" in cli.stdout
    assert cli.json("validate", "data.csv")["files"][0]["kind"] == "data"
    Path("data.csv").write_text("prompt,label\nq,1\nr,\n")
    assert cli("validate", "data.csv") == 2
    assert "data.csv:3: the 'label' field is empty" in cli.stderr


def test_compare_and_search_take_own_data(cli: Cli) -> None:
    pytest.importorskip("optuna")
    rows = [{"prompt": f"What is {n} + 1?", "label": n + 1} for n in range(8)]
    Path("data.json").write_text(json.dumps(rows), "utf-8")
    options = ["--question", "prompt", "--target", "label"]
    result = cli.json("compare", "single", "single", "-b", "data.json", *options, *SCRIPTED)
    assert [row["benchmark"] for row in result["rows"]] == ["data", "data"]
    generator = {"type": "generator", "model": "solver", "samples": {"$choice": [1, 2]}}
    nodes = {"draft": generator, "answer": {"type": "vote", "inputs": ["draft"]}}
    space = {"version": 1, "name": "tiny", "models": {"solver": "scripted"}, "nodes": nodes}
    Path("space.json").write_text(json.dumps(space | {"output": "answer"}), "utf-8")
    trials = ["--trials", "1", "--finalists", "0"]
    found = cli.json("search", "space.json", "data.json", *trials, *options)
    assert found["num_trials"] == 1
    assert "8 rows: 2 to search, 3 to select, 3 to test" in cli.stderr


@pytest.mark.parametrize(
    "content", [b'{"name": "m"}', b"{\n}", b'{"a": 1}\n\n', b"[1]\n[2]\n", b"", b"\xff\n\xfe\n"]
)
def test_other_files_are_not_mistaken_for_data(cli: Cli, content: bytes) -> None:
    Path("card.json").write_bytes(content)
    assert cli("eval", "single", "./card.json", *SCRIPTED) == 2
    assert "data file" not in cli.stderr
