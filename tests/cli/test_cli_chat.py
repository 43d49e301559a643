"""A conversation in the terminal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_runner import Cli

from archon.cli.chat import read_message

Chat = Callable[..., int]


@pytest.fixture
def chat(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Chat:
    """Run ``archon chat`` with lines on standard input."""

    def run(*lines: str, options: tuple[str, ...] = ("self-consistency", "-m", "scripted")) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return cli("chat", *options)

    return run


def saved(name: str) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = json.loads(Path(name).read_text())["messages"]
    return messages


def test_questions_are_asked_with_the_conversation(chat: Chat, cli: Cli) -> None:
    assert chat("What is 2 + 2?", "And 3 + 3?", "/trace", "/save c.json") == 0
    messages = saved("c.json")
    assert [each["role"] for each in messages] == ["user", "assistant"] * 2
    assert cli.stdout == f"{messages[1]['content']}\n{messages[3]['content']}\n"
    assert "The answer is 4" in cli.stdout
    assert "The answer is 6" in cli.stdout
    assert "What is 2 + 2?" in cli.stderr  # the trace of the second question has the first


def test_a_plain_model_and_one_json_object(chat: Chat, cli: Cli) -> None:
    options = ("scripted", "--system", "Be brief.", "--max-tokens", "5", "--temperature", "0.5")
    assert chat("What is 2 + 2?", options=(*options, "--json")) == 0
    found = json.loads(cli.stdout)
    assert [each["role"] for each in found["messages"]] == ["system", "user", "assistant"]
    assert found["usage"]["completion_tokens"] == 5
    assert chat("hi", options=("scripted", "--set", "draft.samples=2")) == 2
    assert "is a model; --model and --set need an architecture" in cli.stderr


def test_commands(chat: Chat, cli: Cli) -> None:
    lines = ["/help", "1 + 1?", "/system Be kind.", "/reset", "2 + 2?", "/model scripted"]
    assert chat(*lines, "3 + 3?", "/save c.json", "/exit", "never asked") == 0
    messages = saved("c.json")
    roles = ["system", "user", "assistant", "user", "assistant"]
    assert [each["role"] for each in messages] == roles
    assert messages[0]["content"] == "Be kind."
    assert "/reset" in cli.stderr
    assert "/" not in cli.stdout


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/rest", "there is no command /rest; did you mean 'reset'?"),
        ("/trace", "there is no answer yet"),
        ("/save", "name a file: /save FILE"),
        ("/save items.jsonl", "items.jsonl exists; choose another name"),
        ("/save nowhere/c.json", "the folder nowhere does not exist"),
        ("/model solvr=scripted", "there is no role 'solvr'"),
    ],
)
def test_wrong_commands_do_not_end_the_conversation(
    chat: Chat, cli: Cli, line: str, reason: str
) -> None:
    assert chat(line, "2 + 2?") == 0
    assert f"archon: error: {reason}" in cli.stderr or reason in cli.stderr
    assert "The answer is 4" in cli.stdout


def test_failed_answers_fail_a_script_and_leave_no_message(
    chat: Chat, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server that refuses connections.
    options = ("http://127.0.0.1:9/v1#none",)
    assert chat("hello", "/save c.json", options=options) == 1
    assert cli.stderr.count("archon: error:") == 1
    assert saved("c.json") == []


def test_messages_of_several_lines() -> None:
    lines = iter(['"""', "one", "", "two", '"""', '"""three"""', "four\\", "five", "six"])

    def next_line(prompt: str) -> str:
        return next(lines)

    messages = [read_message(next_line) for _ in range(4)]
    assert messages == ["one\n\ntwo", "three", "four\nfive", "six"]
