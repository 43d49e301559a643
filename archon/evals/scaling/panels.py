"""The contents of a plot of scaling curves: panels, lines and bands, without any drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Mark:
    """A point of a line, with the ends of its 95% interval. ``y`` values are shares."""

    x: float
    y: float
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True)
class Line:
    """A line of a panel, in the color of its curve."""

    curve: int
    """Number of the curve, from 0."""
    marks: tuple[Mark, ...]
    is_extrapolated: bool = False
    """Whether the line is a prediction, which is dashed and has no points."""


@dataclass(frozen=True)
class Panel:
    """One diagram with a logarithmic x axis."""

    title: str
    x_name: str
    lines: tuple[Line, ...]
    counts: bool = False
    """Whether x is a count. The ticks are then the counts of the lines."""


def panels(data: Mapping[str, Any]) -> list[Panel]:
    """Return the panels that the data fill: accuracy by tokens, by seconds, and pass@k by k."""
    found = [
        Panel("Accuracy by tokens", "tokens per answer", _lines(data, "tokens")),
        Panel(
            "Accuracy by time", "seconds per answer at the measured speed", _lines(data, "seconds")
        ),
        Panel(
            "pass@k; dashed: extrapolated by a power law",
            "samples of each generator, k",
            _passes(data),
            counts=True,
        ),
    ]
    return [panel for panel in found if panel.lines]


def names(data: Mapping[str, Any]) -> list[str]:
    """Return the names of the curves."""
    return [str(curve["name"]) for curve in data["curves"]]


def _mark(x: float, y: float, interval: tuple[float, float], note: str) -> Mark:
    low, high = interval
    return Mark(x, y, low, high, note)


def _lines(data: Mapping[str, Any], key: str) -> tuple[Line, ...]:
    lines = []
    for number, curve in enumerate(data["curves"]):
        marks = tuple(
            _mark(point[key], point["accuracy"], point["accuracy_interval"], f"k {point['k']}")
            for point in curve["points"]
            if point[key]
        )
        lines += [Line(number, marks)] if marks else []
    return tuple(lines)


def _passes(data: Mapping[str, Any]) -> tuple[Line, ...]:
    lines = []
    for number, curve in enumerate(data["curves"]):
        marks = tuple(
            _mark(point["k"], point["pass"], point["pass_interval"], f"k {point['k']}")
            for point in curve["points"]
            if point["pass"] is not None
        )
        lines += [Line(number, marks)] if marks else []
        law = curve["power_law"]
        if marks and law is not None:
            lines.append(Line(number, (replace(marks[-1], note=""), *_predicted(law)), True))
    return tuple(lines)


def _predicted(law: Mapping[str, Any]) -> list[Mark]:
    return [
        _mark(each["k"], each["passed"], each["interval"], f"k {each['k']}, predicted")
        for each in law["extrapolated"]
    ]
