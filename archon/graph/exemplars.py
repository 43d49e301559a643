"""Exemplar pools: worked examples that precede the question in generators' prompts.

A pool is a JSON file ``{"version": 1, "name": …, "examples": [{"question", "reasoning", "answer"},
…]}``, or a JSONL file of rows ``{"question", "answer"}`` in the format of GSM8K, where an answer is
the reasoning, ``####`` and the final answer. Architectures and benchmarks refer to a pool by its
path, or by its name if it is part of this package.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from archon.answers.kinds import ANSWER_TYPES
from archon.errors import SpecError
from archon.spec.common import Name, PromptSpec, StrictModel, Version
from archon.spec.encoding import without_marks
from archon.spec.json_lines import read_rows
from archon.spec.messages import shown, suggestion
from archon.spec.strict_json import read_json
from archon.spec.validation import parse
from archon.types import AnswerKind, Example

_SHIPPED = Path(__file__).parent / "prompts" / "examples"

Text = Annotated[str, Field(min_length=1)]


class ExampleSpec(StrictModel):
    """One worked example."""

    question: Text
    reasoning: str = ""
    answer: Text


class ExampleRow(StrictModel):
    """One worked example in a JSONL file, in the format of GSM8K."""

    question: Text
    answer: Text


class ExemplarPool(StrictModel):
    """The contents of a pool's JSON file."""

    version: Version
    name: Name
    description: str = ""
    examples: list[ExampleSpec] = Field(
        min_length=1, description="Worked examples, in the order of the prompt."
    )


def load_pool(ref: str, base_dir: Path | None = None) -> tuple[Example, ...]:
    """Return the examples of a pool, given the name of a built-in pool or the path of a file.

    A relative path starts at ``base_dir``.

    Raises
    ------
    SpecError
        The pool does not exist, or its file is invalid.
    """
    path = Path(base_dir or ".") / ref
    if ref.endswith(".jsonl"):
        return _read_rows(path, ref)
    if _is_path(ref):
        return _read(path, ref)
    if ref not in pool_names():
        reason = f"there is no built-in exemplar pool {shown(ref)}{suggestion(ref, pool_names())}"
        raise SpecError(f"{reason} (a path must end in .json or .jsonl, or contain '/')")
    return _shipped(ref)


def with_absolute_pool(prompt: PromptSpec, base_dir: Path) -> PromptSpec:
    """Return the prompt with an absolute path to its pool; the name of a built-in pool is kept."""
    if prompt.examples is None or not _is_path(prompt.examples):
        return prompt
    return prompt.model_copy(update={"examples": str((base_dir / prompt.examples).absolute())})


def default_pool(answer: AnswerKind) -> tuple[Example, ...]:
    """Return the shipped examples for a type of answers, always as the same object.

    They are used if neither the prompt nor the benchmark names a pool.
    """
    return _shipped(ANSWER_TYPES[answer].examples)


def pool_names() -> list[str]:
    """Return the sorted names of the built-in pools."""
    return sorted(path.stem for path in _SHIPPED.glob("*.json"))


def _is_path(ref: str) -> bool:
    return ref.endswith((".json", ".jsonl")) or "/" in ref


@cache
def _shipped(name: str) -> tuple[Example, ...]:
    return _read(_SHIPPED / f"{name}.json", name)


def _read(path: Path, file: str) -> tuple[Example, ...]:
    pool = parse(ExemplarPool, read_json(path, file), file)
    return tuple(
        Example(*map(without_marks, (e.question, e.reasoning, e.answer))) for e in pool.examples
    )


def _read_rows(path: Path, file: str) -> tuple[Example, ...]:
    pool = tuple(_example(row, f"{file}:{line}") for line, row in read_rows(path, file))
    if not pool:
        raise SpecError("the file has no examples", file=file)
    return pool


def _example(row: dict[str, Any], place: str) -> Example:
    spec = parse(ExampleRow, row, place)
    reasoning, mark, answer = without_marks(spec.answer).rpartition("####")
    if not mark or not answer.strip():
        reason = f"the answer {shown(spec.answer)} does not end in '#### ' plus the final answer"
        raise SpecError(reason, file=place, path="$.answer")
    return Example(without_marks(spec.question).strip(), reasoning.strip(), answer.strip())
