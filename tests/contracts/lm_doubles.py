"""Every implementation of ``LM``: how it is opened, and what else the contract may expect of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from foreign_models import write_foreign

from archon import api
from archon.lm.base import LM
from archon.lm.lazy import LazyLM
from archon.lm.local import open_local
from archon.lm.openai.client import RemoteLM
from archon.lm.plugin_model import open_plugin
from archon.lm.pool import DrawPool, pooling
from archon.lm.scripted.heuristic import HeuristicScript
from archon.lm.scripted.lm import ScriptedLM
from archon.plugins.decorators import provider
from archon.spec.model import LocalCard, OpenAICard, PluginCard, ScriptedCard
from archon.testing import isolated_plugins
from archon.types import (
    Completion,
    OnEvent,
    Request,
)


@dataclass(frozen=True)
class Places:
    """Where the models of the tests are found."""

    server: str
    """Address of the server process."""
    file: Path
    """GGUF file of a tiny chat model."""
    folder: Path
    """An empty folder."""


@dataclass(frozen=True)
class Model:
    """How to open a model for the tests."""

    open: Callable[[Places], LM]
    is_plain: bool = True
    """One call per completion and one prompt per request; not so for an architecture."""
    reopens: bool = True
    """It can be used again after it was closed."""


def scripted(places: Places) -> LM:
    return ScriptedLM(HeuristicScript(0.6))


def remote(places: Places) -> LM:
    card = {
        "name": "remote",
        "backend": "openai",
        "base_urls": [f"{places.server}/v1"],
        "model": "scripted",
        "logprobs": True,
        "timeout_seconds": 30,
        "max_concurrency": 4,
    }
    return RemoteLM(OpenAICard.model_validate(card))


def local(places: Places) -> LM:
    card = {
        "name": "tiny",
        "backend": "local",
        "sources": [{"path": str(places.file)}],
        "precision": "float32",
        "context": 4096,
    }
    return open_local(LocalCard.model_validate(card))


def transformers(places: Places) -> LM:
    folder = places.folder / "gpt-neox"
    if not folder.exists():
        write_foreign(folder, "gpt_neox")
    card = {
        "name": "tiny-gpt-neox",
        "backend": "local",
        "sources": [{"path": str(folder)}],
        "precision": "float32",
    }
    return open_local(LocalCard.model_validate(card))


def lazy(places: Places) -> LazyLM:
    card = ScriptedCard(name="scripted", backend="scripted", accuracy=0.6)
    return LazyLM(card, places.folder)


class PooledLM:
    """A lazy model whose requests all use a pool of samples."""

    def __init__(self, lm: LazyLM, path: Path) -> None:
        self._lm, self._pool = lm, DrawPool(path)
        self.capabilities = lm.capabilities

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        with pooling(self._pool, "contract"):
            return await self._lm.generate(request, on_event)

    async def aclose(self) -> None:
        await self._lm.aclose()
        self._pool.close()


def pooled(places: Places) -> LM:
    return PooledLM(lazy(places), places.folder / f"{uuid4()}.sqlite3")


DRAFT: dict[str, object] = {"type": "generator", "model": "solver", "samples": 3}


def architecture_of(nodes: dict[str, object]) -> LM:
    spec = {
        "version": 1,
        "name": "draft-and-answer",
        "models": {"solver": "scripted"},
        "nodes": nodes,
        "output": "answer",
    }
    return api.lm(api.load(spec))


def writing_architecture(places: Places) -> LM:
    fuser = {"type": "fuser", "model": "solver", "inputs": ["draft"]}
    return architecture_of({"draft": DRAFT, "answer": fuser | {"sampling": {"temperature": 0}}})


def choosing_architecture(places: Places) -> LM:
    return architecture_of({"draft": DRAFT, "answer": {"type": "vote", "inputs": ["draft"]}})


def plugin(places: Places) -> LM:
    """A model that a plug-in's provider makes."""
    card = {"name": "plugin", "backend": "plugin", "provider": "contract-test", "model": "any"}
    with isolated_plugins():
        provider("contract-test", capabilities=_made("any").capabilities)(_made)
        return open_plugin(PluginCard.model_validate(card))


def _made(model: str) -> LM:
    return ScriptedLM(HeuristicScript(0.6))


MODELS = {
    "scripted": Model(scripted),
    "plugin": Model(plugin),
    "openai": Model(remote),
    "local": Model(local, reopens=False),
    "transformers": Model(transformers, reopens=False),
    "lazy": Model(lazy),
    "pooled": Model(pooled),
    "architecture that writes": Model(writing_architecture, is_plain=False),
    "architecture that chooses": Model(choosing_architecture, is_plain=False),
}
"""The model of every backend by the backend's name, and models that are made of other models."""
