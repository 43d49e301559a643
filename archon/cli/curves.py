"""pass@k and vote@k as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archon.evals.rounding import percent


def curve_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """A line for each node that drew several times, at the powers of four and at its last k.

    >>> points = [{"k": 1, "pass": 0.29, "vote": 0.29}, {"k": 8, "pass": 0.62, "vote": 0.4}]
    >>> next(curve_lines({"curves": {"draft": points}}))
    'draft: pass@1 29 %, @8 62 %; vote@8 40 %'
    """
    for node, points in report["curves"].items():
        shown = [point for point in points if point["k"] in (1, 4, 16, 64, 256, points[-1]["k"])]
        yield f"{node}: {_figures('pass', shown)}; {_figures('vote', shown[1:])}"


def _figures(name: str, points: Sequence[Mapping[str, Any]]) -> str:
    return name + ", ".join(f"@{point['k']} {percent(point[name], 0)} %" for point in points)
