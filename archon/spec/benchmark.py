"""Benchmark cards: files that describe the source of the items and the scoring of answers."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, JsonValue, field_validator, model_validator

from archon.spec.common import Count, Name, StrictModel, Version
from archon.spec.messages import shown, suggestion
from archon.types import AnswerKind

MAX_TASKS = 100

ReasoningGymTask = Literal[
    "aiw", "basic_arithmetic", "binary_alternation", "chain_sum", "count_bits", "count_primes",
    "decimal_chain_sum", "dice", "gcd", "gsm_symbolic", "largest_island", "lcm", "leg_counting",
    "letter_counting", "maze", "products", "rectangle_count", "rotten_oranges", "self_reference",
    "simple_equations", "simple_geometry",
]  # fmt: skip
"""Generators of reasoning-gym whose answer is one exact number, which Archon's scorers can judge.

Generators that ask for a rounded number or for a certain notation are excluded.
"""
_TASKS: tuple[str, ...] = get_args(ReasoningGymTask)


class ItemFields(StrictModel):
    """Names of the fields of a row that contain the parts of an item."""

    question: Name = "question"
    answer: Name = "answer"
    id: Name | None = Field(
        default=None, description="By default an item's id is its line or row number."
    )


class HubSplits(StrictModel):
    """The split of a hub data set that each split of the benchmark is taken from.

    If several are taken from the same split, it is shuffled and divided among them in the
    proportion search 3, select 3, test 4.
    """

    search: Name = "train"
    select: Name = "train"
    test: Name = "test"


class HubData(StrictModel):
    """A data set on the Hugging Face hub."""

    repo: Annotated[
        str, Field(pattern=r"^[^/\s]+/[^/\s]+$", description="Repository, as owner/name.")
    ]
    config: Name | None = Field(None, description="Configuration of the data set, if it has any.")
    revision: Name = Field("main", description="Branch, tag or commit.")
    splits: HubSplits = HubSplits()


class GymTask(StrictModel):
    """A generator of reasoning-gym, and its share of the items."""

    task: ReasoningGymTask
    weight: float = Field(
        1, gt=0, le=1e6, description="Share of the items, relative to the others."
    )
    params: dict[str, JsonValue] = Field({}, description="Parameters of the generator.")

    @field_validator("task", mode="before")
    @classmethod
    def _listed(cls, task: object) -> object:
        if isinstance(task, str) and task not in _TASKS:
            raise ValueError(
                f"{shown(task)} is not a supported task (a supported task has one exact number as "
                "its answer; some scorers of reasoning-gym run the model's text as code)"
                f"{suggestion(task, _TASKS)}"
            )
        return task


class GymData(StrictModel):
    """Items that reasoning-gym generates; equal settings always give the same items."""

    tasks: list[GymTask] = Field(min_length=1, max_length=MAX_TASKS)
    seed: int = Field(0, ge=0, lt=2**32, strict=True, description="Seed of the items.")
    items_per_split: Count = Field(1000, description="Number of items in each of the three splits.")


class ItemSource(StrictModel):
    """Source of the items: exactly one of the three keys."""

    jsonl: Name | None = Field(
        None,
        description="A file with one JSON object per line; a relative path starts at the card's "
        "folder.",
    )
    huggingface: HubData | None = None
    reasoning_gym: GymData | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ItemSource:
        if [self.jsonl, self.huggingface, self.reasoning_gym].count(None) != 2:
            raise ValueError("give exactly one of 'jsonl', 'huggingface' and 'reasoning_gym'")
        return self


class BenchmarkBase(StrictModel):
    """Keys of every benchmark, regardless of the source of its items."""

    version: Version
    name: Name
    description: str = ""
    fields: ItemFields = ItemFields()
    answer_after: Name | None = Field(
        None,
        description="The target follows the last occurrence of this mark in the answer, such as "
        "'####'. In a row without the mark, the answer must be the target alone.",
    )
    answer: AnswerKind = Field("number", description="The kind of answer.")
    score: Name = Field("number-exact", description="Name of a scorer; see `archon ls scorers`.")
    examples: Name | None = Field(
        None,
        description="Name of the pool of worked examples for few-shot prompts; by default the "
        "arithmetic pool.",
    )


class BenchmarkCard(BenchmarkBase):
    """A benchmark: questions with known answers, in three splits that share no item.

    *search* is for choosing an architecture, *select* for comparing a few, *test* for the final
    test. The rows of a JSONL file are divided among them 30/30/40, in a fixed shuffle.
    """

    source: ItemSource


class PythonSource(StrictModel):
    """Items from a Python program."""

    python: str = Field(description="The function or module that generates the items.")


class PythonCard(BenchmarkBase):
    """Record of a benchmark written in Python, for a run's description.

    There is no file of this kind: reading a file never runs code.
    """

    source: PythonSource
