"""Random values of types, as random requests of a client's own request types.

``random_value(type, rng)`` returns JSON data that the type allows. It follows ``TypedDict`` (with
``Required`` and ``NotRequired``), ``Annotated``, ``Literal``, ``Union``, arrays, dictionaries,
pydantic models, type aliases and forward references.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import random
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

import httpx
import pydantic
import typing_extensions

_STRINGS = ("", "a", "Hello", "What is 2 + 2?", "user", "json", "\u00e9\u4e16\U0001f600", "x" * 300)
_INTEGERS = (-1, 0, 1, 2, 3, 7, 20, 128, 2**31, 2**63, -(2**70))
_FLOATS = (-1.5, 0.0, 0.2, 0.5, 1.0, 1.7, 2.0, 1e9)
_ANYTHING: tuple[Any, ...] = (
    None,
    True,
    0,
    1.5,
    "",
    "text",
    [],
    {},
    [1, "a"],
    {"a": 1, "type": "object"},
)
_MAX_DEPTH = 7
"""Depth from which optional keys are left out, and arrays and dictionaries are empty."""

_UNIONS = (typing.Union, types.UnionType)
_ANNOTATIONS = (
    *(typing.Annotated, typing.Required, typing.NotRequired, typing.Final, typing.ClassVar),
    *(typing_extensions.Required, typing_extensions.NotRequired, typing_extensions.ReadOnly),
)
_ARRAYS = (list, tuple, set, frozenset, Sequence, Iterable, Collection, AbstractSet)


def random_value(kind: Any, rng: random.Random, *, fill: float = 0.4, depth: int = 0) -> Any:
    """Return random JSON data that a type allows.

    Parameters
    ----------
    kind
        A type, such as ``openai.types.chat.completion_create_params.CompletionCreateParams``.
    fill
        Probability of each optional key.
    depth
        Number of values that enclose this one.

    Raises
    ------
    TypeError
        The type is of an unknown kind.
    """
    kind = _unwrapped(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Literal, typing_extensions.Literal):
        return rng.choice(arguments)
    if origin in _UNIONS:
        return random_value(rng.choice(arguments), rng, fill=fill, depth=depth)
    if typing_extensions.is_typeddict(kind) or _has_fields(kind):
        return _random_object(_keys(kind), rng, fill, depth)
    if (origin or kind) in _ARRAYS:
        return _random_array(kind, arguments, rng, fill, depth)
    if isinstance(origin or kind, type) and issubclass(origin or kind, Mapping):
        item = arguments[1] if len(arguments) == 2 else Any
        keys = rng.sample(_STRINGS[1:], k=0 if depth >= _MAX_DEPTH else rng.randrange(3))
        return {key: random_value(item, rng, fill=fill, depth=depth + 1) for key in keys}
    return _random_scalar(kind, rng)


def mutated(value: Any, rng: random.Random) -> Any:
    """Return a copy of JSON data with one value replaced by arbitrary JSON data."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        return value | {key: mutated(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], mutated(value[at], rng), *value[at + 1 :]]
    return rng.choice((*_ANYTHING, *_INTEGERS, *_STRINGS, [value], {"value": value}))


def plausible_request(
    kind: Any,
    base: Mapping[str, Any],
    rng: random.Random,
    *,
    extra: int = 3,
    leave_out: Collection[str] = (),
) -> dict[str, Any]:
    """Return the request ``base`` with up to ``extra`` random optional keys of a ``TypedDict``.

    ``kind`` may be a union of such types. ``leave_out`` lists keys that are never added.
    """
    kinds = [one for one in _members(kind) if typing_extensions.is_typeddict(one)]
    keys = _keys(rng.choice(kinds))
    names = sorted(name for name in keys if name not in base and name not in leave_out)
    chosen = rng.sample(names, k=min(len(names), rng.randint(0, extra)))
    return {**base, **{name: random_value(keys[name][0], rng, depth=2) for name in chosen}}


def named(param: str, body: Any) -> bool:
    """Return True if a body has the value at a path such as ``messages.0.role``, or its parent."""
    value = body
    for part in param.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:  # a missing field of an existing object
            return isinstance(value, dict)
    return True


def assert_answered_or_rejected(response: httpx.Response, body: Any) -> None:
    """Check that a request had an answer, or an error whose text names the field at fault."""
    if response.status_code != 200:
        error = response.json()["error"]
        assert response.status_code in (400, 404), (error, body)
        assert error["param"], (error, body)
        assert error["param"].split(".")[0] in error["message"], (error, body)


def _unwrapped(kind: Any) -> Any:
    """Return the type that annotations, aliases, variables and new types stand for."""
    while True:
        if typing.get_origin(kind) in _ANNOTATIONS:
            kind = typing.get_args(kind)[0]
        elif isinstance(kind, typing_extensions.TypeAliasType):
            kind = kind.__value__
        elif isinstance(kind, TypeVar):
            kind = kind.__bound__ or Any
        elif isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        else:
            return kind


def _members(kind: Any) -> list[Any]:
    if typing.get_origin(kind) in _UNIONS:
        return [one for part in typing.get_args(kind) for one in _members(part)]
    return [kind]


def _has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and (
        issubclass(kind, pydantic.BaseModel) or dataclasses.is_dataclass(kind)
    )


def _keys(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return each key's type, and True if the key is optional.

    Forward references are resolved in the module of the class that contains them, which may be a
    base class. ``Required`` in postponed annotations is found only after that.
    """
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        fields = kind.model_fields
        return {
            field.alias or name: (field.annotation, not field.is_required())
            for name, field in fields.items()
        }
    hints = _hints(kind)
    if dataclasses.is_dataclass(kind):
        return {
            field.name: (hints[field.name], field.default is not dataclasses.MISSING)
            for field in dataclasses.fields(kind)
        }
    keys: dict[str, tuple[Any, bool]] = {}
    for name, hint in hints.items():
        origin = typing.get_origin(hint)
        if origin in (typing.Required, typing_extensions.Required):
            is_optional = False
        elif origin in (typing.NotRequired, typing_extensions.NotRequired):
            is_optional = True
        else:
            is_optional = name in kind.__optional_keys__
        keys[name] = hint, is_optional
    return keys


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing_extensions.get_type_hints(kind, include_extras=True)


def _random_object(
    keys: Mapping[str, tuple[Any, bool]], rng: random.Random, fill: float, depth: int
) -> dict[str, Any]:
    return {
        name: random_value(hint, rng, fill=fill, depth=depth + 1)
        for name, (hint, is_optional) in keys.items()
        if not is_optional or (depth < _MAX_DEPTH and rng.random() < fill)
    }


def _random_array(
    kind: Any, arguments: tuple[Any, ...], rng: random.Random, fill: float, depth: int
) -> list[Any]:
    is_tuple = (typing.get_origin(kind) or kind) is tuple
    if is_tuple and arguments and arguments[-1] is not Ellipsis:
        return [random_value(one, rng, fill=fill, depth=depth + 1) for one in arguments]
    item = arguments[0] if arguments else Any
    length = 0 if depth >= _MAX_DEPTH else rng.choice((0, 1, 1, 2, 3))
    return [random_value(item, rng, fill=fill, depth=depth + 1) for _ in range(length)]


def _random_scalar(kind: Any, rng: random.Random) -> Any:
    if kind in (None, type(None)):
        return None
    if kind in (Any, object):
        return rng.choice(_ANYTHING)
    if kind is bool:
        return rng.random() < 0.5
    if kind is int:
        return rng.choice(_INTEGERS)
    if kind is float:
        return rng.choice((*_FLOATS, rng.random()))
    if kind is str:
        return rng.choice(_STRINGS)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return rng.choice(list(kind)).value
    raise TypeError(f"cannot make a random value of {kind!r}")
