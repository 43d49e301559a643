"""Draw scaling curves as SVG, without any package. The colors follow the light or dark scheme.

Lengths are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from archon.evals.rounding import percent
from archon.evals.scaling.panels import Line, Panel, names, panels

LIGHT = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#57606a")
_DARK = ("#4493f8", "#db6d28", "#3fb950", "#ab7df8", "#db61a2", "#9198a1")
_WIDTH, _HEIGHT, _GAP = 460, 320, 20
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 20, 44, 48
_HEAD, _ROW = 62, 20
_TICK_DISTANCE = 24
_STYLE = """
.card{fill:#ffffff;stroke:#d0d7de}.grid{stroke:#d0d7de}
text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-size:17px;font-weight:600}.name{font-size:14px;font-weight:600}
.small{font-size:12px;fill:#59636e}
.line{fill:none;stroke-width:2}.predicted{stroke-dasharray:5 4}.band{opacity:.13;stroke:none}
@media (prefers-color-scheme:dark){.card{fill:#151b23;stroke:#3d444d}.grid{stroke:#3d444d}
text{fill:#f0f6fc}.small{fill:#9198a1}}
"""
Scale = Callable[[float], float]


def draw_svg(title: str, data: Mapping[str, Any]) -> str:
    """Return the SVG text of a plot.

    Parameters
    ----------
    data
        The data of the curves (``curves.scaling_data``).
    """
    shown, labels = panels(data), names(data)
    columns = min(2, max(1, len(shown)))
    rows = -(-len(shown) // columns)
    width = columns * _WIDTH + (columns + 1) * _GAP
    top = _HEAD + _ROW * len(labels)
    height = top + rows * (_HEIGHT + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}{_colors(len(labels))}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        f'<text class="title" x="{_GAP}" y="32">{escape(title)}</text>',
        f'<text class="small" x="{_GAP}" y="51">Bands: 95% intervals over items.</text>',
    ]
    for number, label in enumerate(labels):
        y = _HEAD + _ROW * number + 10
        color = number % len(LIGHT)
        parts += [
            f'<line class="line s{color}" x1="{_GAP}" x2="{_GAP + 22}" y1="{y}" y2="{y}"/>',
            f'<text class="small" x="{_GAP + 30}" y="{y + 4}">{escape(label)}</text>',
        ]
    for number, panel in enumerate(shown):
        x = _GAP + (number % columns) * (_WIDTH + _GAP)
        y = top + (number // columns) * (_HEIGHT + _GAP)
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _colors(count: int) -> str:
    def rules(colors: Sequence[str]) -> str:
        used = range(min(count, len(colors)))
        return "".join(f".s{i}{{stroke:{colors[i]}}}.f{i}{{fill:{colors[i]}}}" for i in used)

    return f"{rules(LIGHT)}@media (prefers-color-scheme:dark){{{rules(_DARK)}}}"


def _panel(panel: Panel) -> list[str]:
    values = [mark.x for line in panel.lines for mark in line.marks]
    x, x_ticks = _logarithmic(values)
    if panel.counts:
        x_ticks = _spaced(sorted(set(values)), x)
    ends = [end for line in panel.lines for mark in line.marks for end in (mark.low, mark.high)]
    y, y_ticks = _shares(min(ends), max(ends))
    bottom = _HEIGHT - _BOTTOM
    parts = [f'<text class="name" x="0" y="20">{escape(panel.title)}</text>']
    for tick in y_ticks:
        parts += [
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" '
            f'y2="{y(tick):.1f}"/>',
            f'<text class="small" x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">'
            f"{percent(tick, 0)}%</text>",
        ]
    for tick in x_ticks:
        parts.append(
            f'<text class="small" x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">'
            f"{tick:g}</text>"
        )
    parts.append(
        f'<text class="small" x="{_WIDTH - _RIGHT}" y="{bottom + 38}" text-anchor="end">'
        f"{escape(panel.x_name)}</text>"
    )
    for line in panel.lines:
        parts += _line(line, x, y)
    return parts


def _line(line: Line, x: Scale, y: Scale) -> list[str]:
    color = line.curve % len(LIGHT)
    upper = [f"{x(mark.x):.1f},{y(mark.high):.1f}" for mark in line.marks]
    lower = [f"{x(mark.x):.1f},{y(mark.low):.1f}" for mark in line.marks]
    middle = [f"{x(mark.x):.1f},{y(mark.y):.1f}" for mark in line.marks]
    kind = " predicted" if line.is_extrapolated else ""
    parts = []
    if len(line.marks) > 1:
        parts += [
            f'<polygon class="band f{color}" points="{" ".join([*upper, *reversed(lower)])}"/>',
            f'<polyline class="line s{color}{kind}" points="{" ".join(middle)}"/>',
        ]
    for mark in line.marks:
        if mark.note:
            radius = 2.5 if line.is_extrapolated else 4
            text = f"{mark.note}: {percent(mark.y)}% [{percent(mark.low)}, {percent(mark.high)}]"
            parts.append(
                f'<circle class="f{color}" cx="{x(mark.x):.1f}" cy="{y(mark.y):.1f}" '
                f'r="{radius}"><title>{escape(text)}</title></circle>'
            )
    return parts


def _logarithmic(values: Sequence[float]) -> tuple[Scale, list[float]]:
    """Return the scale of the x axis, and its ticks: 1, 2 or 5 times powers of ten."""
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = max(0.05, (high - low) * 0.04)
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(value) - low) / (high - low)

    powers = range(math.floor(low), math.ceil(high) + 1)
    factors = (1, 2, 5) if high - low < 2.2 else (1,)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return x, [tick for tick in ticks if low <= math.log10(tick) <= high]


def _spaced(values: Sequence[float], x: Scale) -> list[float]:
    """Return the values whose labels do not overlap."""
    kept: list[float] = []
    for value in values:
        if not kept or x(value) - x(kept[-1]) >= _TICK_DISTANCE:
            kept.append(value)
    return kept


def _shares(low: float, high: float) -> tuple[Scale, list[float]]:
    """Return the scale of the y axis, and its ticks, at most about six."""
    step = next(step for step in (0.02, 0.05, 0.1, 0.2, 1.0) if (high - low) / step <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    bottom, top = first * step, last * step

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (top - value) / (top - bottom)

    return y, [number * step for number in range(first, last + 1)]
