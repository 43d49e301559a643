"""One model for all roles of an architecture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import archon
from archon.errors import UsageError
from archon.graph.absolute_paths import absolute_model
from archon.graph.loading import Loader
from archon.spec.model import OpenAICard
from archon.spec.model_strings import ALL_ROLES

OPENAI = "openai:gpt-4o-mini"


def card_names(architecture: archon.Architecture) -> dict[str, str | None]:
    return {role: card and card.name for role, card in architecture.cards.items()}


def test_one_string_replaces_the_models_of_all_roles() -> None:
    names = card_names(archon.load("rank-fuse", models=OPENAI))
    assert names == {"solver": OPENAI, "judge": OPENAI}


def test_a_named_role_takes_precedence() -> None:
    models = {ALL_ROLES: OPENAI, "judge": "scripted"}
    assert card_names(archon.load("rank-fuse", models)) == {"solver": OPENAI, "judge": "scripted"}


@pytest.mark.parametrize("name", ["reward-vote", "meaning-vote", "translate-numbers"])
def test_models_that_write_no_chat_stay(name: str) -> None:
    before = card_names(archon.load(name))
    after = card_names(archon.load(name, "scripted"))
    kept = {role for role in before if "chat" not in archon.lm(str(before[role])).capabilities}
    assert kept
    assert {role for role in before if before[role] == after[role]} == kept
    assert {after[role] for role in before if role not in kept} <= {"scripted"}


def test_the_roles_of_a_nested_architecture_are_replaced(tmp_path: Path) -> None:
    spec = {
        "version": 1,
        "name": "outer",
        "models": {"solver": {"architecture": "self-consistency"}},
        "nodes": {"answer": {"type": "generator", "model": "solver"}},
        "output": "answer",
    }
    (tmp_path / "outer.json").write_text(json.dumps(spec))
    loader = Loader()
    loader.architecture(tmp_path / "outer.json", {ALL_ROLES: "scripted"})
    assert [lm.card.name for lm in loader.lms] == ["scripted"]


def test_an_unknown_role_is_still_an_error() -> None:
    with pytest.raises(UsageError, match="no role 'sovler'"):
        archon.load("single", {ALL_ROLES: "scripted", "sovler": "scripted"})


def test_several_architectures_get_the_model() -> None:
    loaded = Loader().architectures(["single", "rank-fuse"], {ALL_ROLES: "scripted"})
    assert [set(card_names(each).values()) for each in loaded] == [{"scripted"}] * 2


def test_strings_in_files_stay_and_paths_become_absolute(tmp_path: Path) -> None:
    for string in (OPENAI, "hf:Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", "http://h/v1", "scripted"):
        assert absolute_model(string, tmp_path) == string
    assert absolute_model("./card.json", tmp_path) == str(tmp_path / "card.json")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").touch()
    assert absolute_model("a/b", tmp_path) == str(tmp_path / "a" / "b")


def test_a_role_of_a_file_may_have_a_string(tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "version": 1,
        "name": "remote",
        "models": {"solver": "groq/llama-3.1-8b-instant"},
        "nodes": {"answer": {"type": "generator", "model": "solver"}},
        "output": "answer",
    }
    architecture = archon.load(spec)
    card = architecture.cards["solver"]
    assert isinstance(card, OpenAICard)
    assert card.base_urls == ["https://api.groq.com/openai/v1"]
    stored = architecture.specification("number", None)["models"]["solver"]
    assert OpenAICard.model_validate(stored) == card
