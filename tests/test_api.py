"""Loading architectures: roles, nesting, shared models; evaluating from a program."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from api_doubles import single

import archon
from archon import api
from archon.api import Loader
from archon.errors import GraphError, SpecError, UsageError
from archon.evals.runner import EvalProgress
from archon.lm import factory
from archon.lm.base import LM
from archon.lm.factory import capabilities
from archon.lm.lazy import LazyLM
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.spec import catalog
from archon.spec.model import ModelCard
from archon.spec.reader import load_architecture, load_model_card
from archon.types import Message, Request

ASK = Request((Message("user", "What is 2 + 3?"),))


@pytest.mark.parametrize("name", catalog.names("architecture"))
def test_every_shipped_architecture_answers(name: str) -> None:
    judge = {"name": "judge", "backend": "scripted", "reward": True}
    models = {
        role: judge if "reward" in capabilities(load_model_card(card).spec) else "scripted"
        for role, card in load_architecture(name).spec.models.items()
        if isinstance(card, str)
    }
    assert archon.load(name, models).run("What is 2 + 3?").text


def test_an_application_s_model_takes_a_role() -> None:
    model = ScriptedLM(in_turn(["The answer is 7."]))
    answer = archon.load(single(), {"m": model}).run("?")
    assert answer.value == "7"
    assert len(model.requests) == 1


def test_a_card_as_a_dict_takes_a_role() -> None:
    card = {"name": "never", "backend": "scripted", "accuracy": 0}
    architecture = archon.load(single(), {"m": card})
    assert [card and card.name for card in architecture.cards.values()] == ["never"]


def test_equal_cards_share_one_model_across_architectures() -> None:
    loader = Loader()
    spec = single(models={"m": "scripted", "n": {"name": "other", "backend": "scripted"}})
    first = loader.architecture(spec)
    second = loader.architecture(single())
    assert [lm.card.name for lm in loader.lms] == ["scripted", "other"]
    assert first.models is not second.models
    assert loader.model("scripted") is Loader().model("scripted")


def test_loading_opens_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LazyLM, "open", lambda self: pytest.fail("opened"))
    archon.load("rank-fuse")
    archon.lm("qwen2.5-coder-0.5b")


async def test_concurrent_first_requests_open_a_model_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = []
    real = factory.open_lm

    def open_lm(card: ModelCard, base_dir: Path | None) -> LM:
        opened.append(card)
        return real(card, base_dir)

    monkeypatch.setattr(factory, "open_lm", open_lm)
    lm = archon.lm({"name": "fresh", "backend": "scripted"})
    await asyncio.gather(*(lm.generate(ASK) for _ in range(8)))
    assert len(opened) == 1


async def test_an_architecture_is_a_model() -> None:
    lm = archon.lm(archon.load(single()))
    (completion,) = await lm.generate(ASK)
    assert completion.text


def test_an_architecture_can_be_the_model_of_a_node(tmp_path: Path) -> None:
    (tmp_path / "inner.json").write_text(json.dumps(single(name="inner")))
    outer = single(models={"m": {"architecture": "inner.json"}})
    (tmp_path / "outer.json").write_text(json.dumps(outer))
    assert archon.load(tmp_path / "outer.json").run("What is 2 + 3?").text
    by_caller = archon.load(single(), {"m": {"architecture": str(tmp_path / "inner.json")}})
    assert by_caller.run("What is 2 + 3?").text


def test_an_architecture_that_contains_itself_is_refused(tmp_path: Path) -> None:
    for name, inner in (("a", "./b.json"), ("b", "a.json")):
        spec = single(name=name, models={"m": {"architecture": inner}})
        (tmp_path / f"{name}.json").write_text(json.dumps(spec))
    with pytest.raises(GraphError, match=r"a → b → a \[contains_itself\]"):
        archon.load(tmp_path / "a.json")


def test_one_architecture_in_two_roles_is_no_recursion(tmp_path: Path) -> None:
    inner = {"architecture": str(tmp_path / "inner.json")}
    (tmp_path / "inner.json").write_text(json.dumps(single(name="inner")))
    nodes = {
        "a": {"type": "generator", "model": "m"},
        "b": {"type": "generator", "model": "n", "inputs": ["a"]},
    }
    spec = single(models={"m": inner, "n": inner}, nodes=nodes, output="b")
    assert len(archon.load(spec).run("What is 2 + 3?").candidates) == 2


def test_an_unknown_role_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no role 'n' in one.*'m'"):
        archon.load(single(), {"n": "scripted"})


def test_an_unknown_model_is_an_error_that_names_file_and_path(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(single(models={"m": "scriptd"})))
    with pytest.raises(SpecError) as caught:
        archon.load(path)
    assert (caught.value.file, caught.value.path) == (str(path), "$.models.m")


def test_an_invalid_prompt_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    node = {"type": "generator", "model": "m", "prompt": {"shots": 9000, "examples": "arithmetic"}}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(single(nodes={"a": node})))
    with pytest.raises(GraphError) as caught:
        archon.load(path)
    assert caught.value.file == str(path)


async def test_evaluate_works_inside_a_running_loop(tmp_path: Path) -> None:
    data = tmp_path / "items.jsonl"
    rows = [{"id": str(a), "question": f"What is {a} + 1?", "answer": str(a + 1)} for a in range(9)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen: list[EvalProgress] = []
    report = archon.evaluate(
        archon.load(single()),
        "smoke",
        split="test",
        limit=2,
        epochs=2,
        data=data,
        output=tmp_path / "run",
        on_progress=seen.append,
    )
    assert (report.num_items, report.num_runs, report.num_errors) == (2, 4, 0)
    assert report.accuracy_interval is not None
    assert len(seen) == 4


def test_a_function_is_a_benchmark_and_its_report_names_the_scorer(tmp_path: Path) -> None:
    def sums() -> list[dict[str, Any]]:
        return [{"question": f"What is {a} + 1?", "answer": a + 1} for a in range(9)]

    def near(text: str, target: str) -> float:
        return 0.5

    made = archon.PythonBenchmark(sums, score=near)
    for ref, scorer in ((sums, "number-exact"), (made, "test_api.py:")):
        output = tmp_path / scorer
        report = archon.evaluate(archon.load(single()), ref, output=output)
        assert report.benchmark == "sums"
        assert report.scorer.startswith(scorer)
        assert report.num_errors == 0
        run = json.loads((output / "run.json").read_text(encoding="utf-8"))
        assert run["specification"]["benchmark"]["source"] == {
            "python": f"test_api.py:{sums.__qualname__}"
        }
    assert report.accuracy == 0
    again = archon.evaluate(
        archon.load(single()), made, scorer="lm-eval-flexible-extract", output=tmp_path / "again"
    )
    assert again.scorer == "lm-eval-flexible-extract"


def test_a_replaced_scorer_is_named_in_the_selection() -> None:
    ours = api.benchmark("smoke")
    theirs = api.benchmark("smoke", scorer="lm-eval-cot-strict-match")
    assert ours.items == theirs.items
    assert ours.selection.card.score == "number-exact"
    assert theirs.selection.card.score == "lm-eval-cot-strict-match"
    assert (ours.scorer(None, "The answer is 42", "42").value) == 1
    assert (theirs.scorer(None, "The answer is 42", "42").value) == 0


def test_the_architecture_in_the_readme_is_valid() -> None:
    readme = Path(__file__).parent.parent / "README.md"
    (spec,) = re.findall(r"```json[^\n]*\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert archon.load(json.loads(spec), {"solver": "scripted"}).run("What is 2 + 3?").text


def test_an_evaluation_takes_what_load_takes(tmp_path: Path) -> None:
    report = archon.evaluate(single(), "smoke", limit=2, output=tmp_path / "run")
    assert report.architecture == "one"
