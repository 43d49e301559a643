"""Rules for the keys of model files: a key is computed, irrelevant, or rejected.

A key may require a computation that the engine does not implement. If it were ignored, the results
would be wrong, without any error. So every known key has a rule, and an unknown key is rejected
unless its value is null, false, zero or empty.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from archon.errors import ModelFileError

_MAX_SHOWN = 80
"""Maximum number of characters of a value in an error message."""


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Rules for the keys of one kind of file."""

    computed: frozenset[str]
    """Keys that other code reads and checks."""
    irrelevant: frozenset[str]
    """Keys that do not affect results, whatever their value."""
    neutral: Mapping[str, Sequence[Any]]
    """Keys → values that have no effect. Null, false, zero and empty values are allowed as well,
    unless True is among the listed values."""
    null_only: frozenset[str] = frozenset()
    """Keys that are supported only if they are null. Even an empty object would have an effect,
    since it enables a feature with its defaults."""
    irrelevant_names: re.Pattern[str] = field(default_factory=lambda: re.compile(r"(?!)"))
    """Pattern of irrelevant keys; it must match the whole key."""

    def computing(self, keys: Iterable[str]) -> KeyRules:
        """Return the rules of a file whose reader computes these keys as well."""
        neutral = {key: allowed for key, allowed in self.neutral.items() if key not in keys}
        return replace(self, computed=self.computed | frozenset(keys), neutral=neutral)

    def check(self, values: Mapping[str, Any], path: Path, prefix: str = "") -> None:
        """Check that no key requires an unsupported computation.

        Parameters
        ----------
        values
            Keys of the file, without ``prefix``.
        prefix
            Prefix of the keys in the file, for the error message.

        Raises
        ------
        ModelFileError
            A key is not supported. The error names the file, and all such keys with their values.
        """
        reasons = [f"{prefix}{reason}" for reason in self._refusals(values)]
        if reasons:
            raise ModelFileError(f"{path}: " + "; ".join(reasons))

    def _refusals(self, values: Mapping[str, Any]) -> Iterator[str]:
        for key, value in values.items():
            if key in self.computed or key in self.irrelevant or value is None:
                continue
            if key in self.null_only:
                yield f"{key} is {shown(value)}, which is not supported"
            elif key in self.neutral:
                if not _is_neutral(value, self.neutral[key]):
                    yield f"{key} is {shown(value)}, which is not supported"
            elif value and self.irrelevant_names.fullmatch(key) is None:
                yield (
                    f"{key} is {shown(value)}: the key is unknown and may change what the model "
                    "computes. If it does not, remove it from the file"
                )


@dataclass(frozen=True, slots=True)
class CheckedKeys:
    """Typed access to the keys of a model file; each value is checked when it is read."""

    path: Path
    values: Mapping[str, Any]
    prefix: str = ""

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(self.prefix + key)
        value = default if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.error(key, value, "a number")
        if not math.isfinite(value):
            raise self.error(key, value, "a finite number")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        value = self.number(key, default)
        if not isinstance(value, int) or value < 0:
            raise self.error(key, value, "a whole number of at least 0")
        return value

    def positive(self, key: str, default: float | None = None) -> float:
        value = self.number(key, default)
        if value <= 0:
            raise self.error(key, value, "a number above 0")
        return value

    def expect(self, key: str, supported: Sequence[object]) -> None:
        """Raise ``ModelFileError`` unless the key's value is one of ``supported``."""
        value = self.values.get(self.prefix + key)
        if value not in supported:
            known = ", ".join(repr(v) for v in supported if v is not None)
            raise ModelFileError(
                f"{self.path}: {self.prefix}{key} is {value!r}; only {known} is supported"
            )

    def unsupported(self, key: str) -> ModelFileError:
        """Return the error for a key whose value requires an unsupported computation."""
        value = shown(self.values.get(self.prefix + key))
        return ModelFileError(f"{self.path}: {self.prefix}{key} is {value}, which is not supported")

    def error(self, key: str, value: object, wanted: str) -> ModelFileError:
        """Return the error for a value that is not ``wanted``, such as "a number"."""
        return ModelFileError(f"{self.path}: {self.prefix}{key} is {value!r}, not {wanted}")


def shown(value: Any) -> str:
    """Return the repr of a value for an error message, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _is_neutral(value: Any, allowed: Sequence[Any]) -> bool:
    """Return True if ``allowed`` lists ``value``, or if it is falsy and True is not listed."""
    if any(_same(value, one) for one in allowed):
        return True
    return not value and not any(one is True for one in allowed)


def _same(value: Any, allowed: Any) -> bool:
    """Return True if two values are equal; True is not equal to 1."""
    return bool(value == allowed) and isinstance(value, bool) == isinstance(allowed, bool)
