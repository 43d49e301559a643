"""Conversion of each key of a component.

A key is *carried* to a place in the node; or it has a *neutral* value, which asks for what happens
here anyway; or it is lost, for a reason.

- ``samples`` of a judge: the original draws so many replies and reads the first.
- ``top_k`` of a ranker or a test evaluator is how many candidates it keeps; other components of
  the original do not read it. It has nothing to do with top-k sampling.
- ``first_k`` of a verifier stops it after so many passes, which are what it keeps.
- ``first_k`` of a test evaluator (formerly ``first_pass``) stops it after so many candidates that
  pass every test.
- ``ranker_batch_size`` is read for the reward model PairRM alone.
- ``length_control`` of a fuser forbids an answer longer than the longest candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter

from archon.convert.conversion_log import ConversionLog, near_miss
from archon.convert.layers import Component
from archon.errors import SpecError
from archon.spec.architecture import AnyNode
from archon.spec.common import Count, SamplingSpec
from archon.spec.messages import shown
from archon.spec.validation import validate

NO_LONGER = "Your answer must not be longer than the longest of the candidates."

NODE_CLASSES: Mapping[str, type[BaseModel]] = {
    get_args(node_class.model_fields["type"].annotation)[0]: node_class
    for node_class in get_args(get_args(AnyNode)[0])
}
"""Our nodes by type."""

Place = tuple[str, ...]
"""Where a value goes in a node: a key, or two where the first holds an object."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What becomes of the keys of one type of component, but for type, model and server."""

    carried: Mapping[str, Place]
    neutral: Mapping[str, Any]
    lost: Mapping[str, str]


_SAMPLING: Mapping[str, Place] = {
    "temperature": ("sampling", "temperature"),
    "max_tokens": ("sampling", "max_tokens"),
}
_PLAIN = {"no_system": False}
_ONE_REPLY = {**_PLAIN, "samples": 1}
_WHY_LOST = {"no_system": "a system message that comes with the question is not taken away"}
_FIRST_REPLY = {**_WHY_LOST, "samples": "only the first reply would be read, so one is drawn"}
_BATCHES = {"ranker_batch_size": "how requests are batched is left to the model's server"}
_EVERY_TEST = "here every candidate is judged and passed on, those that pass most tests first"

TREATMENTS: Mapping[str, Treatment] = {
    "generator": Treatment({**_SAMPLING, "samples": ("samples",)}, _PLAIN, _WHY_LOST),
    "critic": Treatment(_SAMPLING, _ONE_REPLY, _FIRST_REPLY),
    "ranker": Treatment(
        {**_SAMPLING, "top_k": ("keep",), "use_critiques": ("use_critiques",)},
        _ONE_REPLY,
        {**_FIRST_REPLY, **_BATCHES},
    ),
    "fuser": Treatment(
        {**_SAMPLING, "samples": ("samples",), "use_critiques": ("use_critiques",)},
        {**_PLAIN, "length_control": False},
        _WHY_LOST,
    ),
    "verifier": Treatment({**_SAMPLING, "first_k": ("keep_first",)}, _ONE_REPLY, _FIRST_REPLY),
    "unit_test_generator": Treatment(
        {**_SAMPLING, "unit_test_cap": ("max_tests",)}, _ONE_REPLY, _FIRST_REPLY
    ),
    "unit_test_evaluator": Treatment(
        {**_SAMPLING, "top_k": ("keep",)},
        {**_ONE_REPLY, "first_pass": False, "remove_unit_tests_from_prompt": True},
        {
            **_FIRST_REPLY,
            "first_k": _EVERY_TEST,
            "first_pass": _EVERY_TEST,
            "unit_test_cap": "the number of tests is the test generator's",
            "remove_unit_tests_from_prompt": "the question never holds the tests here",
        },
    ),
}
"""By type of component."""

_IDENTITY = frozenset({"type", "model", "model_type"})
ALL_KEYS: frozenset[str] = _IDENTITY.union(
    {"length_control"},
    *({*t.carried, *t.neutral, *t.lost} for t in TREATMENTS.values()),
)
"""Every key that a component of the original may have."""


def write_keys(component: Component, node: dict[str, Any], log: ConversionLog) -> None:
    """Put the keys of a component into its node; what cannot be put there goes to the log."""
    treatment = TREATMENTS[component.type]
    for key, value in component.data.items():
        if key in _IDENTITY:
            continue
        reason = _write(component.type, treatment, key, value, node)
        if reason is not None:
            log.lose((*component.path, key), reason)


def _write(
    node_type: str, treatment: Treatment, key: str, value: Any, node: dict[str, Any]
) -> str | None:
    """Put one key into the node, or return why it is lost."""
    if key == "length_control" and node_type == "fuser" and value is True:
        node["prompt"] = {"system": NO_LONGER}
        return None
    if key in treatment.neutral and _same(value, treatment.neutral[key]):
        return None
    place = treatment.carried.get(key)
    if place is not None:
        return _carry(node_type, place, value, node)
    if key in treatment.lost:
        return treatment.lost[key]
    if key in treatment.neutral or (key == "length_control" and node_type == "fuser"):
        return f"must be true or false, not {shown(value)}"
    if key in ALL_KEYS:
        return f"the original reads no {shown(key)} of a {node_type}"
    return f"unknown key{_near_key(key)}"


def _carry(node_type: str, place: Place, value: Any, node: dict[str, Any]) -> str | None:
    form = _form(node_type, place)
    if form is None:
        return _EVERY_TEST
    try:
        checked = validate(form, value)
    except SpecError as error:
        return error.reason
    if checked is not None:
        holder = node.setdefault(place[0], {}) if len(place) > 1 else node
        holder[place[-1]] = value
    return None


@cache
def _form(node_type: str, place: Place) -> TypeAdapter[Any] | None:
    """What our format takes at a place; None where it has no such place."""
    holder = SamplingSpec if place[0] == "sampling" else NODE_CLASSES.get(node_type)
    if holder is None:
        return TypeAdapter(Count)
    field = holder.model_fields.get(place[-1])
    if field is None:
        return None
    form: Any = Annotated[field.annotation, field]
    return TypeAdapter(form)


@cache
def _near_key(key: str) -> str:
    return near_miss(key, sorted(ALL_KEYS))


def _same(value: Any, neutral: Any) -> bool:
    return type(value) is type(neutral) and value == neutral
