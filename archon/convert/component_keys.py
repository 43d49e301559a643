"""Convert the keys of a component.

A key is *carried* over to a key of the node, or has a *neutral* value that needs no equivalent in
Archon, or is lost for a stated reason. In the original:

- ``samples`` of a judge is the number of sampled replies, of which the judge reads only the first.
- ``top_k`` of a ranker or a test evaluator is the number of candidates that it keeps; other
  components do not read it. It is unrelated to top-k sampling.
- ``first_k`` of a verifier makes it stop after that number of candidates have passed, and keep only
  those candidates.
- ``first_k`` of a test evaluator (formerly ``first_pass``) makes it stop after that number of
  candidates have passed every test.
- ``ranker_batch_size`` is read only for the reward model PairRM.
- ``length_control`` of a fuser forbids answers that are longer than the longest candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter

from archon.convert.conversion_log import ConversionLog, near_miss
from archon.convert.layers import Component
from archon.errors import SpecError
from archon.spec.architecture import SHIPPED_NODES
from archon.spec.common import Count, SamplingSpec
from archon.spec.messages import shown
from archon.spec.validation import validate

_LENGTH_LIMIT = "Your answer must not be longer than the longest of the candidates."

NODE_CLASSES: Mapping[str, type[BaseModel]] = SHIPPED_NODES
"""Archon's node classes by node type."""

NodePath = tuple[str, ...]
"""Path of a value in a node: one key, or two for a value in an object such as ``sampling``."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """Rules for converting the keys of one component type, apart from type, model and server."""

    carried: Mapping[str, NodePath]
    """Key → path of its value in the node."""
    neutral: Mapping[str, Any]
    """Key → its neutral value, which has no effect."""
    lost: Mapping[str, str]
    """Key → the reason why any other value is lost."""


_SAMPLING: Mapping[str, NodePath] = {
    "temperature": ("sampling", "temperature"),
    "max_tokens": ("sampling", "max_tokens"),
}
_PLAIN = {"no_system": False}
_ONE_REPLY = {**_PLAIN, "samples": 1}
_WHY_LOST = {"no_system": "Archon always keeps a system message that comes with the question"}
_FIRST_REPLY = {**_WHY_LOST, "samples": "Archon samples only one reply, the one that is read"}
_BATCHES = {"ranker_batch_size": "the model's server decides how requests are batched"}
_EVERY_TEST = "Archon tests and keeps every candidate, and puts those that pass most tests first"

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
            "unit_test_cap": "the test generator determines the number of tests",
            "remove_unit_tests_from_prompt": "in Archon, the question never contains the tests",
        },
    ),
}
"""Treatments by component type."""

_IDENTITY = frozenset({"type", "model", "model_type"})
ALL_KEYS: frozenset[str] = _IDENTITY.union(
    {"length_control"},
    *({*t.carried, *t.neutral, *t.lost} for t in TREATMENTS.values()),
)
"""All keys that a component of the original can have."""


def write_keys(component: Component, node: dict[str, Any], log: ConversionLog) -> None:
    """Write the keys of a component to ``node``; log the lost keys."""
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
    """Write one key to ``node`` if it can be converted; otherwise, return why it is lost."""
    if key == "length_control" and node_type == "fuser" and value is True:
        node["prompt"] = {"system": _LENGTH_LIMIT}
        return None
    if key in treatment.neutral and _same(value, treatment.neutral[key]):
        return None
    path = treatment.carried.get(key)
    if path is not None:
        return _carry(node_type, path, value, node)
    if key in treatment.lost:
        return treatment.lost[key]
    if key in treatment.neutral or (key == "length_control" and node_type == "fuser"):
        return f"must be true or false, not {shown(value)}"
    if key in ALL_KEYS:
        return f"the original does not read {shown(key)} of a {node_type}"
    return f"unknown key{_near_key(key)}"


def _carry(node_type: str, path: NodePath, value: Any, node: dict[str, Any]) -> str | None:
    accepted = _accepted_type(node_type, path)
    if accepted is None:
        return _EVERY_TEST
    try:
        checked = validate(accepted, value)
    except SpecError as error:
        return error.reason
    if checked is not None:
        parent = node.setdefault(path[0], {}) if len(path) > 1 else node
        parent[path[-1]] = value
    return None


@cache
def _accepted_type(node_type: str, path: NodePath) -> TypeAdapter[Any] | None:
    """Return the value type at a path in a node; None if the node does not have this key."""
    parent = SamplingSpec if path[0] == "sampling" else NODE_CLASSES.get(node_type)
    if parent is None:
        return TypeAdapter(Count)
    field = parent.model_fields.get(path[-1])
    if field is None:
        return None
    annotated: Any = Annotated[field.annotation, field]
    return TypeAdapter(annotated)


@cache
def _near_key(key: str) -> str:
    return near_miss(key, sorted(ALL_KEYS))


def _same(value: Any, neutral: Any) -> bool:
    return type(value) is type(neutral) and value == neutral
