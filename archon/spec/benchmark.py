"""Benchmark cards: files that describe where items come from and how answers are scored."""

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
"""Generators of reasoning-gym that Archon supports: each answer is a single exact number.

Generators that ask for a rounded number or for a particular notation are excluded.
"""
_TASKS: tuple[str, ...] = get_args(ReasoningGymTask)


class ItemFields(StrictModel):
    """Names of the fields of a row that contain the question, the answer and the id of an item."""

    question: Name = "question"
    answer: Name = "answer"
    id: Name | None = Field(
        default=None,
        description="Field with the item's id. By default the id is the line or row number.",
    )


class HubSplits(StrictModel):
    """For each split of the benchmark, the split of the hub data set that it is taken from.

    If several splits are taken from the same split of the data set, its rows are shuffled and
    divided among them in the ratio 3 (search) : 3 (select) : 4 (test).
    """

    search: Name = "train"
    select: Name = "train"
    test: Name = "test"


class HubData(StrictModel):
    """A data set on the Hugging Face hub."""

    repo: Annotated[
        str, Field(pattern=r"^[^/\s]+/[^/\s]+$", description="Repository, as owner/name.")
    ]
    config: Name | None = Field(
        None, description="Configuration of the data set; needed if it has several."
    )
    revision: Name = Field("main", description="Branch, tag or commit.")
    splits: HubSplits = HubSplits()


class GymTask(StrictModel):
    """A generator of reasoning-gym, and its share of the benchmark's items."""

    task: ReasoningGymTask
    weight: float = Field(
        1, gt=0, le=1e6, description="Weight that determines the generator's share of the items."
    )
    params: dict[str, JsonValue] = Field({}, description="Parameters of the generator.")

    @field_validator("task", mode="before")
    @classmethod
    def _listed(cls, task: object) -> object:
        if isinstance(task, str) and task not in _TASKS:
            raise ValueError(
                f"{shown(task)} is not a supported task of reasoning-gym; only tasks whose answer "
                "is a single exact number are supported"
                f"{suggestion(task, _TASKS)}"
            )
        return task


class GymData(StrictModel):
    """Items that reasoning-gym generates. The same settings always generate the same items."""

    tasks: list[GymTask] = Field(min_length=1, max_length=MAX_TASKS)
    seed: int = Field(0, ge=0, lt=2**32, strict=True, description="Seed of the items.")
    items_per_split: Count = Field(
        1000, description="Number of items in each of the three splits (search, select and test)."
    )


class ItemSource(StrictModel):
    """Source of the items. Exactly one of the three keys must be given."""

    jsonl: Name | None = Field(
        None,
        description="File with one JSON object per line. A relative path starts at the card's "
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
    """Keys that every benchmark may have, regardless of the source of its items."""

    version: Version
    name: Name
    description: str = ""
    fields: ItemFields = ItemFields()
    answer_after: Name | None = Field(
        None,
        description="Mark, such as '####', after whose last occurrence in the answer field the "
        "correct answer follows. In a row without the mark, the field must contain only the "
        "correct answer. By default there is no mark.",
    )
    answer: AnswerKind = Field("number", description="Type of the answers.")
    score: Name = Field("number-exact", description="Name of a scorer; see `archon ls scorers`.")
    examples: Name | None = Field(
        None,
        description="Name of the pool of worked examples for few-shot prompts. The default is the "
        "arithmetic pool.",
    )


class BenchmarkCard(BenchmarkBase):
    """A benchmark: questions with known answers, in three splits without common items.

    *search* is for searching an architecture, *select* for comparing the best ones, and *test* for
    the final test. The rows of a JSONL file are shuffled in a fixed order, and divided into 30%
    search, 30% select and 40% test.
    """

    source: ItemSource


class PythonSource(StrictModel):
    """A Python function or module as the source of the items."""

    python: str = Field(description="Name of the function or module that generates the items.")


class PythonCard(BenchmarkBase):
    """Description of a benchmark that is written in Python, stored with a run.

    It cannot be loaded from a file, because reading a file never runs code.
    """

    source: PythonSource
