"""Conventions that every command follows: streams, errors, suggestions, examples, settings."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cli_runner import SCRIPTED, Cli

from archon.cli import main
from archon.cli.examples import EXAMPLES, examples_of
from archon.cli.main import LazyGroup, archon

Path_ = tuple[str, ...]


def commands(group: LazyGroup = archon, path: Path_ = ()) -> Iterator[tuple[Path_, click.Command]]:
    """Yield every command and group with the words that call it."""
    yield path, group
    context = click.Context(group, info_name="archon")
    for name in group.table:
        child = group.get_command(context, name)
        assert child is not None
        if isinstance(child, LazyGroup):
            yield from commands(child, (*path, name))
        else:
            yield (*path, name), child


COMMANDS = dict(commands())
LEAVES = [path for path, command in COMMANDS.items() if not isinstance(command, LazyGroup)]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_wrong_option_is_one_line_on_standard_error(cli: Cli, path: Path_) -> None:
    assert cli(*path, "--jsn") == 2
    assert cli.stdout == ""
    first, second = cli.stderr.splitlines()
    assert first.startswith("archon: error: no such option '--jsn'")
    assert "'--json'" in first
    assert second == f"archon: see archon {' '.join(path)} --help"


@pytest.mark.parametrize("path", [path for path in LEAVES if path != ("run",)], ids=" ".join)
def test_too_many_and_missing_arguments(cli: Cli, path: Path_) -> None:
    command = COMMANDS[path]
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    if any(each.required for each in arguments):
        assert cli(*path) == 2
        assert cli.stderr.startswith("archon: error: missing argument")
    if all(each.nargs == 1 for each in arguments):
        assert cli(*path, *["a/b"] * (len(arguments) + 1)) == 2
        assert cli.stderr.startswith("archon: error: ")
    assert cli.stdout == ""
    assert "Traceback" not in cli.stderr


@pytest.mark.parametrize("path", [p for p, c in COMMANDS.items() if isinstance(c, LazyGroup)])
def test_similar_commands_are_suggested(cli: Cli, path: Path_) -> None:
    group = COMMANDS[path]
    assert isinstance(group, LazyGroup)
    for name in group.table:
        assert cli(*path, f"{name}x") == 2
        assert f"did you mean '{name}'?" in cli.stderr, name


def test_every_command_has_examples() -> None:
    assert [path for path in COMMANDS if not examples_of(" ".join(("archon", *path)))] == []
    assert [words for words in EXAMPLES if tuple(words.split()) not in COMMANDS] == []


def lines() -> list[tuple[str, str]]:
    return [
        (" ".join(path), line)
        for path in COMMANDS
        for line in examples_of(" ".join(("archon", *path)))
    ]


@pytest.mark.parametrize(("words", "line"), lines())
def test_examples_parse(words: str, line: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("text")
    arguments = shlex.split(line.rpartition("| ")[2] if "$(" not in line else line)
    if "$(" in line:
        inner = line.partition("$(")[2].partition(")")[0]
        arguments = shlex.split(inner)
    for redirection in (">", ">>", "<"):
        if redirection in arguments:
            arguments = arguments[: arguments.index(redirection)]
    assert arguments.pop(0) == "archon"
    command: click.Command = archon
    context = click.Context(archon, info_name="archon")
    path: Path_ = ()
    while isinstance(command, LazyGroup):
        path = (*path, arguments.pop(0))
        found = command.get_command(context, path[-1])
        assert found is not None
        command = found
    assert not words or " ".join(path).startswith(words)
    command.make_context(" ".join(path), arguments, parent=context)


@pytest.mark.parametrize("kind", ["architectures", "models", "benchmarks", "templates", "scorers"])
def test_lists_are_complete_and_plain_in_pipes(
    cli: Cli, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    rows = cli.json("ls", kind)[kind]
    assert cli("ls", kind) == 0
    assert "\x1b" not in cli.stdout
    assert "…" not in cli.stdout
    assert [line.split()[0] for line in cli.stdout.splitlines()] == [row["name"] for row in rows]
    assert all(row["description"] in cli.stdout for row in rows)


def test_a_terminal_without_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    assert main(["ls", "architectures"]) == 0
    assert main(["show", "self-consistency"]) == 0
    assert b"self-consistency" in out.getvalue()


# Settings


def shown_cost(cli: Cli, *options: str) -> dict[str, float]:
    cost: dict[str, float] = cli.json("show", "best-of-n", "--cost", *options)["cost"]["worst"]
    return cost


def test_set_changes_values_as_the_file_would(cli: Cli) -> None:
    before = shown_cost(cli)
    half = shown_cost(cli, "--set", "draft.samples=4")
    assert half["calls"] < before["calls"]
    assert half == shown_cost(cli, "--set", "nodes.draft.samples=4")
    assert shown_cost(cli, "--set", "budget.max_tokens=70")["tokens"] <= 70
    short = shown_cost(cli, "--set", "draft.sampling.max_tokens=1")
    assert short["completion_tokens"] < before["completion_tokens"]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("drft.samples=4", "--set drft.samples: there is no node or key 'drft'; did you mean"),
        ("nodes.drft.samples=4", "did you mean 'draft'?"),
        ("draft.sampels=4", "$.nodes.draft.sampels: unknown key 'sampels'; did you mean 'samples'"),
        ("budgt.max_tokens=4", "did you mean 'budget'?"),
        ("draft.samples=0", "$.nodes.draft.samples"),
        ("draft.samples.x=0", "nodes.draft.samples is 8, which has no key 'x'"),
        ("best.inputs.7=draft", "nodes.best.inputs is a list of 1"),
        ('draft.sampling={"a":', "--set draft.sampling: the value is not valid JSON"),
        ("draft.samples", "--set needs KEY=VALUE"),
        ("draft..samples=1", "--set needs KEY=VALUE"),
        ("best.inputs.0=nope", "nope"),
    ],
)
def test_wrong_settings_name_the_key(cli: Cli, setting: str, reason: str) -> None:
    assert cli("show", "best-of-n", "--set", setting) == 2
    assert reason in cli.stderr


def test_compared_architectures_take_the_settings_that_they_have(cli: Cli) -> None:
    arguments = ["compare", "single", "self-consistency", "-b", "arithmetic", "--limit", "2"]
    arguments += ["--data", "items.jsonl", "--set", "answer.weight=count", *SCRIPTED]
    assert cli(*arguments) == 0, cli.stderr
    assert cli(*arguments, "--set", "nowhere.samples=1") == 2
    assert "there is no node or key 'nowhere'" in cli.stderr


def test_runs_record_settings_and_resume_repeats_them(cli: Cli, tmp_path: Path) -> None:
    options = ["--set", "draft.samples=3", "--temperature", "0.25", "--limit", "2"]
    evaluate = ["eval", "self-consistency", "arithmetic", "--data", "items.jsonl", *SCRIPTED]
    assert cli(*evaluate, *options, "--output", "run") == 0, cli.stderr
    nodes = json.loads((tmp_path / "run/run.json").read_text())["specification"]["architecture"]
    draft = nodes["nodes"]["draft"]
    assert (draft["samples"], draft["sampling"]["temperature"]) == (3, 0.25)
    assert cli.json("resume", "run", "--limit", "4")["num_items"] == 4
    assert cli(*evaluate, "--limit", "4", "--output", "run", "--resume") == 2  # other samples


def test_temperature_applies_to_the_nodes_that_a_request_reaches(cli: Cli) -> None:
    options = ["--temperature", "0", "--set", "draft.sampling.temperature=0.5"]
    assert cli("show", "best-of-n", *options) == 0
    ignoring = ["--set", "serve.request_sampling=ignore"]
    assert cli("show", "best-of-n", *ignoring, "--temperature", "0") == 2
    assert "--set NODE.sampling.temperature=T" in cli.stderr


def test_m_is_short_for_model(cli: Cli) -> None:
    long = cli.json("run", "single", "What is 2 + 2?", "--model", "scripted")
    assert cli.json("run", "single", "What is 2 + 2?", "-m", "scripted")["text"] == long["text"]
