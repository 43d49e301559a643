"""Benchmark cards: files that describe where items come from and how answers are scored."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, JsonValue, Tag, field_validator, model_validator

from archon.spec.common import Count, LaterKeys, Name, StrictModel, Version
from archon.spec.messages import shown, suggestion
from archon.spec.scoring import MAX_GROUPINGS, Groupings, Scoring
from archon.types import AnswerKind

MAX_TASKS = 100

Repository = Annotated[
    str, Field(pattern=r"^[^/\s]+/[^/\s]+$", description="Repository, as owner/name.")
]

ReasoningGymTask = Literal[
    "aiw", "basic_arithmetic", "binary_alternation", "chain_sum", "count_bits", "count_primes",
    "decimal_chain_sum", "dice", "gcd", "gsm_symbolic", "largest_island", "lcm", "leg_counting",
    "letter_counting", "maze", "products", "rectangle_count", "rotten_oranges", "self_reference",
    "simple_equations", "simple_geometry",
]  # fmt: skip
"""Supported generators of reasoning-gym, whose answers are single exact numbers. Generators that
require a rounded number or a particular notation are excluded.
"""
_TASKS: tuple[str, ...] = get_args(ReasoningGymTask)


ChoiceAnswer = Literal["text", "letter", "index", "number", "flags"]
"""How a row names the right one of its choices; see ``ItemFields.answer_as``."""


class ItemFields(LaterKeys):
    """Fields of a row that contain an item's question, answer, choices and id.

    A field is the name of a column or, in nested data, a path such as `choices.text`.
    """

    later_keys = frozenset({"question_template", "choices", "answer_as"})

    question: Name = "question"
    question_template: str | None = Field(
        default=None,
        min_length=1,
        description="Text of the question, in which {column} stands for a field of the row. It "
        "replaces `question`. Write {{ and }} for braces.",
    )
    answer: Name = Field(
        default="answer",
        description="Field with the answer. If it contains a list, each member is accepted.",
    )
    choices: Name | list[Name] | None = Field(
        default=None,
        description="Field with the list of choices, or one field for each choice. The field may "
        'also contain an object {"text": [...], "label": [...]}.',
    )
    answer_as: ChoiceAnswer | None = Field(
        default=None,
        description="How the answer names the right choice: by its `text`, its `letter` or label, "
        "its `index` from 0, its `number` from 1, or `flags`, a list of 0 and 1 with one flag for "
        "each choice. By default this is decided from all rows.",
    )
    id: Name | None = Field(
        default=None,
        description="Field with the item's id. By default the id is the line or row number.",
    )


class HubPart(StrictModel):
    """A split of a data set, which may be in another repository than the rest."""

    split: Name
    repo: Repository | None = Field(None, description="By default the source's repository.")
    config: Name | None = Field(None, description="By default the source's configuration.")
    revision: Name | None = Field(
        None, description="By default the source's revision, and `main` in another repository."
    )


HubSplit = Annotated[
    Annotated[Name, Tag("str")] | Annotated[HubPart, Tag("HubPart")],
    Discriminator(lambda value: "str" if isinstance(value, str) else "HubPart"),
]


class HubSplits(StrictModel):
    """Benchmark split → split of the hub data set from which it is taken.

    If several splits are taken from the same split of the data set, its rows are shuffled and
    divided among them in the ratio 3 (search) : 3 (select) : 4 (test).
    """

    search: HubSplit = "train"
    select: HubSplit = "train"
    test: HubSplit = "test"


class HubData(LaterKeys):
    """A data set on the Hugging Face hub."""

    later_keys = frozenset({"configs"})

    repo: Repository
    config: Name | None = Field(
        None, description="Configuration of the data set; needed if it has several."
    )
    configs: list[Name] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="Several configurations, whose rows are joined. The column `config` of an item "
        "names its configuration.",
    )
    revision: Name = Field("main", description="Branch, tag or commit.")
    splits: HubSplits = HubSplits()

    @model_validator(mode="after")
    def _one_key(self) -> HubData:
        if self.config is not None and self.configs is not None:
            raise ValueError("give either 'config' or 'configs', not both")
        return self


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
                f"reasoning-gym's {shown(task)} task is not supported; only tasks whose answer is "
                "a single exact number are supported"
                f"{suggestion(task, _TASKS)}"
            )
        return task


class GymData(StrictModel):
    """Items generated by reasoning-gym. The same settings always generate the same items."""

    tasks: list[GymTask] = Field(min_length=1, max_length=MAX_TASKS)
    seed: int = Field(0, ge=0, lt=2**32, strict=True, description="Seed of the items.")
    items_per_split: Count = Field(
        1000, description="Number of items in each of the three splits (search, select and test)."
    )


class ItemSource(LaterKeys):
    """Source of the items. Exactly one of the keys must be given."""

    later_keys = frozenset({"file"})

    file: Name | None = Field(
        None,
        description="File with one row per item: CSV, TSV, JSON, JSON Lines or Parquet. A relative "
        "path starts at the card's folder.",
    )
    jsonl: Name | None = Field(
        None,
        description="File with one JSON object per line. A relative path starts at the card's "
        "folder.",
    )
    huggingface: HubData | None = None
    reasoning_gym: GymData | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ItemSource:
        if [self.file, self.jsonl, self.huggingface, self.reasoning_gym].count(None) != 3:
            keys = "'file', 'jsonl', 'huggingface' and 'reasoning_gym'"
            raise ValueError(f"give exactly one of {keys}")
        return self

    @property
    def path(self) -> str | None:
        """The path of the file with the items; None for another source."""
        return self.file if self.file is not None else self.jsonl


class PublishedScore(StrictModel):
    """An accuracy that someone published, to compare results with."""

    model: Name
    score: float = Field(ge=0, le=1, description="Accuracy, from 0 to 1.")
    source: Name = Field(description="Address or title of the publication.")
    note: str = Field("", description="How it was measured, such as the number of examples.")


class BenchmarkBase(LaterKeys):
    """Keys that every benchmark may have, regardless of the source of its items."""

    later_keys = frozenset(
        {"answer_before", "skip_unreadable", "ending", "license", "published", "by"}
    )

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
    answer_before: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Mark, such as ' (', before whose first occurrence the correct answer ends.",
    )
    skip_unreadable: bool = Field(
        False,
        description="Whether rows are left out from whose answer no target can be read. Their "
        "number is reported. By default such a row is an error.",
    )
    answer: AnswerKind = Field("number", description="Type of the answers.")
    ending: bool = Field(
        True,
        description="Whether prompts ask for an ending from which the answer can be read, such as "
        "'The answer is X.'. If false, the complete reply is the answer: generators get the "
        "question alone, without a template's instructions and worked examples.",
    )
    score: Scoring = Field(
        "number-exact",
        description="Name of a scorer (see `archon ls scorers`), or an object with its name and "
        "parameters, or a list. The first scorer decides the accuracy; the report has a mean for "
        "each of the others. The default is the usual scorer of the type of the answers.",
    )
    by: Groupings = Field(
        [],
        max_length=MAX_GROUPINGS,
        description="Columns by whose values the report groups the items, such as a subject.",
    )
    examples: Name | None = Field(
        None,
        description="Name of the pool of worked examples for few-shot prompts. The default is the "
        "arithmetic pool.",
    )
    license: str = Field("", description="Licence of the data set.")
    published: list[PublishedScore] = Field([], description="Published accuracies.")

    def identity(self) -> dict[str, Any]:
        """Return the keys that determine the items and their scores, as JSON data."""
        return self.model_dump(mode="json", exclude={"license", "published", "by"})


class BenchmarkCard(BenchmarkBase):
    """A benchmark: questions with known answers, in three splits without common items.

    *search* is for searching an architecture, *select* for comparing the best ones, and *test* for
    the final test. The rows of a file are shuffled in a fixed order, and divided into 30%
    search, 30% select and 40% test.
    """

    source: ItemSource


class PythonSource(StrictModel):
    """A Python function or module as the source of the items."""

    python: str = Field(description="Name of the function or module that generates the items.")


class PythonCard(BenchmarkBase):
    """Description of a benchmark written in Python, which is stored with a run.

    It cannot be loaded from a file, because reading a file never runs code.
    """

    source: PythonSource
