"""Discovery of plug-ins: entry points, ``--plugin``, ``ARCHON_PLUGINS``; runs that use them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plugin_doubles import ARCHITECTURE, SMALL, install

import archon
from archon.cli import main
from archon.plugins import discovery, registry
from archon.testing import (
    ScriptedLM,
    check_benchmark,
    check_lm,
    check_provider,
    check_scorer,
    check_template,
    in_turn,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an architecture, from which packages can be imported."""
    (tmp_path / "arch.json").write_text(json.dumps(ARCHITECTURE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_installed_plugin_is_loaded_when_a_name_is_unknown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(folder, "lazy_plugin", SMALL, "lazy_plugin")
    assert main(["run", "single", "What is 1 + 2?", "--model", "scripted"]) == 0
    assert "lazy_plugin" not in sys.modules
    capsys.readouterr()
    assert printed(capsys, "run", "arch.json", "What is 1 + 2?")
    assert "lazy_plugin" in sys.modules
    rows = {row["name"]: row for row in printed(capsys, "ls", "plugins")["plugins"]}
    assert rows["lazy_plugin"]["provides"] == ["node type first-two", "scorer says-answer"]
    assert rows["lazy_plugin"]["origin"] == "lazy_plugin 1.2"
    scorers = {row["name"]: row for row in printed(capsys, "ls", "scorers")["scorers"]}
    assert scorers["says-answer"]["plugin"] == "lazy_plugin (lazy_plugin 1.2)"


def test_a_broken_plugin_warns_with_its_name_and_stops_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(
        folder, "broken_plugin", SMALL + "\nraise RuntimeError('no licence')\n", "broken_plugin"
    )
    install(folder, "whole_plugin", "", "broken_functions:register")
    (folder / "broken_functions.py").write_text(
        f"def register():{SMALL.replace(chr(10), chr(10) + '    ')}"
    )
    assert main(["run", "arch.json", "What is 1 + 2?"]) == 0
    printed_ = capsys.readouterr().err
    assert "broken_plugin (broken_plugin 1.2) cannot be used" in printed_
    assert "RuntimeError: no licence" in printed_
    assert [each.origin.name for each in registry.everything()] == ["whole_plugin"] * 2


@pytest.mark.parametrize("is_first", [True, False])
def test_a_plugin_is_named_before_or_after_the_command(folder: Path, is_first: bool) -> None:
    (folder / "small.py").write_text(SMALL)
    command = ["run", "arch.json", "What is 1 + 2?"]
    option = ["--plugin", "small.py"]
    assert main([*option, *command] if is_first else [*command, *option]) == 0


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("none.py", "none.py: no such file"),
        ("no_such_module_here", "ModuleNotFoundError"),
        ("faulty.py", "faulty.py:2: ZeroDivisionError"),
    ],
)
def test_a_named_plugin_that_fails_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], ref: str, reason: str
) -> None:
    (folder / "faulty.py").write_text("import archon\n1 / 0\n")
    assert main(["ls", "nodes", "--plugin", ref]) == 2
    assert reason in capsys.readouterr().err


def test_a_run_stores_its_plugins_and_is_not_resumed_without_or_with_other_ones(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "small.py").write_text(SMALL)
    (folder / "items.jsonl").write_text(
        "".join(
            json.dumps({"question": f"What is {n} + 1?", "answer": n + 1}) + "\n" for n in range(12)
        )
    )
    arguments = ["eval", "arch.json", "items.jsonl", "--split=all", "--limit=2", "--no-cache"]
    monkeypatch.setenv(discovery.VARIABLE, "small.py")
    assert main([*arguments, "--scorer", "says-answer", "--output", "run"]) == 0
    description = json.loads((folder / "run" / "run.json").read_text())
    assert set(description["specification"]["plugins"]) == {"node first-two", "scorer says-answer"}
    assert "--plugin=small.py" in description["command"]["arguments"]
    monkeypatch.delenv(discovery.VARIABLE)

    resume = [sys.executable, "-m", "archon", "resume", "run", "--limit", "3"]
    code = subprocess.run(resume, capture_output=True, text=True, check=False)
    assert code.returncode == 0, code.stderr
    (folder / "small.py").write_text(SMALL.replace("[:2]", "[:1]"))
    resume[-1] = "4"
    code = subprocess.run(resume, capture_output=True, text=True, check=False)
    assert code.returncode == 2
    assert "plugins" in code.stderr
    (folder / "small.py").write_text("")
    code = subprocess.run(resume, capture_output=True, text=True, check=False)
    assert code.returncode == 2
    assert "node type 'first-two', scorer 'says-answer'" in code.stderr


def test_the_example_plugin_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The package is not installed here, so its metadata are written as an installer does."""
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "example", "", "archon_example_plugin")
    (row,) = printed(capsys, "ls", "plugins")["plugins"]
    assert "benchmark doubles" in row["provides"]
    tests = runpy_functions(EXAMPLE / "tests" / "test_archon_example_plugin.py")
    assert len(tests) == 4
    for test in tests:
        test()


def runpy_functions(path: Path) -> list[Any]:
    import runpy

    return [value for name, value in runpy.run_path(str(path)).items() if name.startswith("test_")]


def test_providers_name_servers_and_make_models() -> None:
    @archon.provider("house")
    def house(model: str) -> Any:
        return {"base_urls": ["http://models.example/v1"], "api_key_env": "HOUSE_KEY"}

    @archon.provider("echo", capabilities=("chat",))
    def echo(model: str) -> Any:
        return ScriptedLM(in_turn([f"{model}: The answer is 3."]), capabilities=frozenset({"chat"}))

    check_provider("house:small")
    check_provider("echo:one", asks=True)
    check_lm(ScriptedLM(in_turn(["a", "b"])))
    answer = archon.load("single", models="echo:one").run("What is 1 + 2?")
    assert answer.text == "one: The answer is 3."
    with pytest.raises(archon.SpecError, match="did you mean 'echo:one'"):
        archon.load("single", models="ecko:one")
    with pytest.raises(archon.UsageError, match="Archon ships a provider 'openai'"):
        archon.provider("openai")(house)


def test_templates_scorers_and_benchmarks_are_used_by_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    archon.prompt_template("shout", text="{question}! {ending}")
    archon.scorer("has-target")(lambda text, target: target in text)

    @archon.benchmark("sums", answer="number", score="has-target")
    def sums() -> Any:
        return [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(40)]

    check_template("shout")
    check_scorer("has-target", [("the 42 of it", "42", 1), ("41", "42", 0)])
    archon.scorer("equal-value", answers=("number",))(lambda value, target: value == target)
    check_scorer("equal-value", [("It is 41. The answer is 42.", "42", 1), ("42 or 41", "42", 0)])
    check_benchmark("sums")
    report = archon.evaluate("single", "sums", limit=3, cache=False)
    assert report.scorer == "has-target"
    spec = {
        "version": 1,
        "name": "shouting",
        "models": {"solver": "scripted"},
        "nodes": {"a": {"type": "generator", "model": "solver", "prompt": {"template": "shout"}}},
        "output": "a",
    }
    call = archon.load(spec).run("What is 1 + 2?").trace.nodes["a"].calls[0]
    assert call.messages[0].content.startswith("What is 1 + 2?!")
    with pytest.raises(archon.UsageError, match="Archon ships a template 'generator/cot'"):
        archon.prompt_template("cot", text="{question}")
    with pytest.raises(archon.UsageError, match="Archon ships a scorer 'text-exact'"):
        archon.scorer("text-exact")(lambda text, target: 1)
    with pytest.raises(archon.UsageError, match="Archon ships a benchmark 'gsm8k'"):
        archon.benchmark("gsm8k")(sums)
    archon.prompt_template("lacking", text="What?")
    with pytest.raises(archon.SpecError, match="does not contain"):
        check_template("lacking")
