"""The generator of random requests."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Generic, Literal, NotRequired, Required, TypeVar

import pydantic
import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params
from random_requests import mutated, plausible_request, random_value
from typing_extensions import TypedDict

KINDS: dict[str, Any] = {
    "chat": chat.CompletionCreateParams,
    "completions": completion_create_params.CompletionCreateParams,
    "embeddings": embedding_create_params.EmbeddingCreateParams,
    "responses": response_create_params.ResponseCreateParams,
}


class Base(TypedDict, total=False):
    kind: Required[Literal["a", "b"]]
    next: Later


class Whole(Base):
    numbers: NotRequired[Iterable[int]]
    pair: Annotated[tuple[int, str], "a comment"]
    table: Mapping[str, float | None]


class Later(TypedDict):
    flag: bool


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_values_are_of_the_type(kind: Any) -> None:
    adapter = pydantic.TypeAdapter(kind)
    rng = random.Random(1)
    for _ in range(100):
        adapter.validate_python(random_value(kind, rng))


def test_all_optional_keys_occur_and_none_is_always_there() -> None:
    rng = random.Random(1)
    values = [random_value(Whole, rng) for _ in range(100)]
    pydantic.TypeAdapter(list[Whole]).validate_python(values)
    for key in ("next", "numbers"):
        assert {key in value for value in values} == {True, False}
    assert all({"kind", "pair", "table"} <= set(value) for value in values)
    assert {value["kind"] for value in values} == {"a", "b"}


def test_a_seed_decides_the_value() -> None:
    one, same, other = (random_value(KINDS["chat"], random.Random(s)) for s in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_plausible_request_adds_optional_keys_to_its_base(kind: Any) -> None:
    base = {"model": "m", "input": "x", "messages": [], "prompt": "x"}
    made = [plausible_request(kind, base, random.Random(s), leave_out=("user",)) for s in range(50)]
    assert all(base.items() <= one.items() and "user" not in one for one in made)
    assert {0, 1, 2} <= {len(one) - len(base) for one in made} <= {0, 1, 2, 3}


def test_a_mutation_changes_one_value_of_a_copy() -> None:
    value = {"a": [1, {"b": 2}], "c": "d"}
    made = [mutated(value, random.Random(seed)) for seed in range(50)]
    assert value == {"a": [1, {"b": 2}], "c": "d"}
    assert len({repr(one) for one in made}) > 10


def test_an_unknown_type_is_an_error() -> None:
    variable = TypeVar("variable")

    class Unknown(Generic[variable]): ...

    with pytest.raises(TypeError, match="cannot make a random value"):
        random_value(Unknown, random.Random(1))
