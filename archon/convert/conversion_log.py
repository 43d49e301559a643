"""The log of a conversion: lost values, and remarks that the user should check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from archon.spec.messages import json_path, suggestion
from archon.spec.strict_json import JsonPath


@dataclass(frozen=True, slots=True)
class Loss:
    """A key or value of the original file that is missing from the architecture, and the reason."""

    path: JsonPath
    reason: str

    @property
    def key(self) -> str:
        """The lost key: the last name in the path."""
        return next((step for step in reversed(self.path) if isinstance(step, str)), "")

    def to_json(self) -> dict[str, str]:
        return {"path": json_path(self.path), "key": self.key, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Remark:
    """A note for the user, such as a rule of the paper that the file breaks."""

    rule: str
    path: JsonPath
    reason: str

    def to_json(self) -> dict[str, str]:
        return {"rule": self.rule, "path": json_path(self.path), "reason": self.reason}


@dataclass(slots=True)
class ConversionLog:
    """Losses and remarks in the order in which they were found."""

    losses: list[Loss] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def lose(self, path: JsonPath, reason: str) -> None:
        self.losses.append(Loss(path, reason))

    def remark(self, rule: str, path: JsonPath, reason: str) -> None:
        self.remarks.append(Remark(rule, path, reason))


def near_miss(name: object, valid: Iterable[str]) -> str:
    """Return the end of a sentence that suggests the most similar valid name; "" if there is none.

    >>> near_miss("temprature", ["temperature", "samples"]), near_miss("zzz", ["samples"])
    ("; did you mean 'temperature'?", '')
    """
    hint = suggestion(name, valid)
    return hint if "did you mean" in hint else ""
