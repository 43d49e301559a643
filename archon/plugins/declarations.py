"""The declarations that decorators register, one class for each kind of plug-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

CountRule = int | str | Callable[[Any, int], int] | None
"""A number, the name of a parameter that has it, or a function of (parameters, number of
candidates that the node reads). None means no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlugin:
    """A node type; the fields are explained in ``archon.plugins.decorators.node``."""

    name: str
    code: Any
    """The function or class."""
    description: str
    parameters: type[BaseModel] | None
    model: Literal["none", "optional", "required"]
    is_async: bool
    passes: tuple[str, ...]
    """Names of the arguments that the function takes (``NODE_ARGUMENTS``)."""
    prompt: str
    calls: CountRule
    shown: int | None
    requires: frozenset[str]
    needs_inputs: bool
    writes: bool
    replaces: bool
    keeps: CountRule
    scores: bool
    critiques: bool
    values: bool
    reads_critiques: bool
    reads_scores: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerPlugin:
    """A scorer."""

    name: str
    description: str
    kinds: tuple[str, ...]
    parameters: type[BaseModel] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePlugin:
    """A named wording of the prompts of one node type."""

    name: str
    node: str
    text: str
    description: str
    asks_for_working: bool = True
    asks_for_program: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkPlugin:
    """A benchmark whose rows a function returns."""

    name: str
    description: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of ``archon.PythonBenchmark``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderPlugin:
    """A prefix of model strings."""

    prefix: str
    description: str
    capabilities: frozenset[str] | None
    """Capabilities of the models that the function makes; None if it returns servers' cards."""


def count_of(rule: CountRule, parameters: Any, num_candidates: int) -> int | None:
    """Return the number that a rule gives; None means no number."""
    if rule is None or isinstance(rule, int):
        return rule
    if isinstance(rule, str):
        value = getattr(parameters, rule)
        return None if value is None else int(value)
    return int(rule(parameters, num_candidates))
