"""Questions that start with a minus sign or a byte-order mark, next to options."""

from __future__ import annotations

import codecs
import io
import json
from types import SimpleNamespace
from typing import Any

import pytest

from archon.cli.main import main

SCRIPTED = ["--model", "solver=scripted"]


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the question as the model reads it."""
    assert main(["run", "single", *SCRIPTED, *arguments, "--trace", "--json"]) == 0
    trace: dict[str, Any] = json.loads(capsys.readouterr().out)["trace"]
    last = str(trace["nodes"][0]["calls"][0]["messages"][-1]["content"])
    assert trace["question"]["text"] in last
    return str(trace["question"]["text"])


@pytest.mark.parametrize(
    "question",
    [
        "-5 + 3 = ?",
        "-5",
        "-.5 * 2",
        "-$5 + $3",
        "-(3 + 4)",
        "- 3 + 4",
        "-x + 3 = 0, solve for x",
        "-x+3=0",
        "-π / 2",
        "-h is 3; what is h?",
        "--5",
        "-- 5",
        "--x + 1 = 0",
        "---",
        "-\n5",
        "-",
    ],
)
def test_a_question_may_start_with_a_minus_sign(
    capsys: pytest.CaptureFixture[str], question: str
) -> None:
    assert asked(capsys, question) == question


@pytest.mark.parametrize("question", ["-x", "--json", "-h", "--modle", "-x=3"])
def test_after_two_dashes_everything_is_a_question(
    capsys: pytest.CaptureFixture[str], question: str
) -> None:
    arguments = ["run", *SCRIPTED, "--json", "--trace", "single", "--", question]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["trace"]["question"]["text"] == question


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeed", "1", "q"], "no such option '--seeed'; did you mean one of '--seed', '--set'?"),
        (
            ["-x"],
            "no such option '-x'. If the question itself looks like an option, put '--' before it",
        ),
        (["-json", "q"], "no such option '-j'"),
        (["--json=5", "q"], "'--json' does not take a value"),
        (["q", "--model"], "option '--model' requires an argument"),
        (["-5", "-6"], "got unexpected extra argument (-6)"),
        (["q", "--seed", "x"], "invalid value for '--seed'"),
    ],
)
def test_unknown_options_are_still_rejected(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["run", "single", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_options_may_appear_anywhere_and_keep_their_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "--seed", "-3", "single", "-5 + 3", *SCRIPTED, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"]
    assert main(["run", "-5 + 3", "-h"]) == 0
    assert "Answer one question." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "question"),
    [
        (codecs.BOM_UTF8 + b"What is 2 + 3?\r\n", "What is 2 + 3?"),
        (codecs.BOM_UTF16_LE + "What is √4?\r\n".encode("utf-16-le"), "What is √4?"),
        (codecs.BOM_UTF8 + b"One.\r\n" + codecs.BOM_UTF8 + b"Two?", "One.\nTwo?"),
    ],
)
def test_no_byte_order_mark_reaches_a_prompt(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    question: str,
) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stdin)
    assert asked(capsys) == question
    assert asked(capsys, f"\ufeff{question}") == question


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the question is empty"),
        (codecs.BOM_UTF8 + b"\r\n", "the question is empty"),
        (b"caf\xe9?", "standard input: is not UTF-8: byte 0xe9 at line 1 column 4; save it as"),
    ],
)
def test_an_empty_or_undecodable_question_is_rejected(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    message: str,
) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["run", "single", *SCRIPTED]) == 2
    assert message in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", None)  # as where it is closed
    assert main(["run", "single", *SCRIPTED]) == 2
    assert main(["run", "single", *SCRIPTED, "caf\udce9?"]) == 2
    assert "cannot decode" in capsys.readouterr().err
