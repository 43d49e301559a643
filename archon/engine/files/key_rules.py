"""Allow-lists for the keys of model files: a key is computed, cannot matter, or is refused.

A file may ask for a computation that the engine does not have. Leaving such a key out in silence
would make the result wrong, and the model look weak. So every key has a rule, and a key without one
is refused unless its value says nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archon.errors import ModelFileError

_MAX_SHOWN = 80
"""Characters of a value in an error."""


@dataclass(frozen=True, slots=True)
class KeyRules:
    """The rules for the keys of one kind of file."""

    computed: frozenset[str]
    """Keys that the code reads and checks elsewhere."""
    irrelevant: frozenset[str]
    """Keys that no result depends on, whatever they say."""
    neutral: Mapping[str, Sequence[Any]]
    """Keys → the values that change nothing. A value that says nothing is allowed as well, except
    where true is: there, false says something."""
    null_only: frozenset[str] = frozenset()
    """Keys that say something unless they are null: an empty object stands for defaults."""
    irrelevant_names: re.Pattern[str] = field(default_factory=lambda: re.compile(r"(?!)"))
    """Names that no result depends on: a full match."""

    def classifies(self, key: str) -> bool:
        """Whether there is a rule for this very key."""
        known = (self.computed, self.irrelevant, self.neutral, self.null_only)
        return any(key in keys for keys in known)

    def check(self, values: Mapping[str, Any], path: Path, prefix: str = "") -> None:
        """Refuse what may change a result.

        Parameters
        ----------
        values
            The file's keys, without ``prefix``.
        prefix
            What stands in front of each key in the file, for the error.

        Raises
        ------
        ModelFileError
            Names the file, and each key with its value.
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
    """The numbers of a model file by key, each checked as it is read."""

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

    def expect(self, key: str, supported: Sequence[object]) -> None:
        """Refuse any other value than these."""
        value = self.values.get(self.prefix + key)
        if value not in supported:
            known = ", ".join(repr(v) for v in supported if v is not None)
            raise ModelFileError(
                f"{self.path}: {self.prefix}{key} is {value!r}; only {known} is supported"
            )

    def unsupported(self, key: str) -> ModelFileError:
        """The error for a value that asks for an unsupported computation."""
        value = shown(self.values.get(self.prefix + key))
        return ModelFileError(f"{self.path}: {self.prefix}{key} is {value}, which is not supported")

    def error(self, key: str, value: object, wanted: str) -> ModelFileError:
        """The error for a value of another type."""
        return ModelFileError(f"{self.path}: {self.prefix}{key} is {value!r}, not {wanted}")


def shown(value: Any) -> str:
    """A value as errors show it."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _is_neutral(value: Any, allowed: Sequence[Any]) -> bool:
    """Whether a value is an allowed one, or says nothing where no allowed value is true."""
    if any(_same(value, one) for one in allowed):
        return True
    return not value and not any(one is True for one in allowed)


def _same(value: Any, allowed: Any) -> bool:
    """Equality in which a truth value is no number."""
    return bool(value == allowed) and isinstance(value, bool) == isinstance(allowed, bool)
