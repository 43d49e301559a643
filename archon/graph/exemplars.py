"""Exemplar pools: worked examples that generators show before the question.

A pool is a JSON file ``{"version": 1, "name": …, "examples": [{"question", "reasoning", "answer"},
…]}``. It is named by a path, or by the name of a pool that is shipped with the package.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from archon.errors import SpecError
from archon.spec.common import Name, StrictModel, Version
from archon.spec.messages import shown, suggestion
from archon.spec.reader import parse, read_json
from archon.types import Example

_DEFAULT = "arithmetic"
_SHIPPED = Path(__file__).parent / "prompts" / "examples"

Text = Annotated[str, Field(min_length=1)]


class ExampleSpec(StrictModel):
    """One worked example."""

    question: Text
    reasoning: str = ""
    answer: Text


class ExemplarPool(StrictModel):
    """The file of a pool."""

    version: Version
    name: Name
    description: str = ""
    examples: list[ExampleSpec] = Field(min_length=1, description="Shown from the first on.")


def load_pool(ref: str, base_dir: Path | None = None) -> tuple[Example, ...]:
    """The examples of a shipped pool, or of the file at a path that starts at ``base_dir``.

    Raises
    ------
    SpecError : there is no such pool, or its file breaks the schema.
    """
    if ref.endswith(".json") or "/" in ref:
        return _read(Path(base_dir or ".") / ref, ref)
    if ref not in pool_names():
        reason = f"no exemplar pool {shown(ref)} is shipped{suggestion(ref, pool_names())}"
        raise SpecError(f"{reason} (a path ends in .json or contains '/')")
    return _shipped(ref)


def default_pool() -> tuple[Example, ...]:
    """The pool used where neither the node nor the benchmark names one; always the same object."""
    return _shipped(_DEFAULT)


def pool_names() -> list[str]:
    """The names of the shipped pools, sorted."""
    return sorted(path.stem for path in _SHIPPED.glob("*.json"))


@cache
def _shipped(name: str) -> tuple[Example, ...]:
    return _read(_SHIPPED / f"{name}.json", name)


def _read(path: Path, file: str) -> tuple[Example, ...]:
    pool = parse(ExemplarPool, read_json(path, file), file)
    return tuple(Example(e.question, e.reasoning, e.answer) for e in pool.examples)
