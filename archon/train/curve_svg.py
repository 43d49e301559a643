"""Plot the loss or reward of a training run as SVG, with its running mean and held-out values.

Lengths are in pixels. The colours adapt to the reader's light or dark colour scheme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 64, 44
_MAX_POINTS = 1000
"""Maximum number of points of a line; longer curves are thinned."""
_STYLE = """
.card{fill:#ffffff;stroke:#d0d7de}
text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-size:17px;font-weight:600}.small{font-size:12px;fill:#59636e}
.step,.mean{fill:none}.step{stroke:#0969da;opacity:.25}.mean{stroke:#0969da;stroke-width:2}
.held{fill:#bc4c00}.grid{stroke:#d0d7de}
@media (prefers-color-scheme:dark){.card{fill:#151b23;stroke:#3d444d}text{fill:#f0f6fc}
.small{fill:#9198a1}.step,.mean{stroke:#4493f8}.held{fill:#db6d28}.grid{stroke:#3d444d}}
"""
_CAPTIONS = {
    "loss": "loss in nats by step (pale), its running mean (bold), loss on held-out data (dots)",
    "reward": "mean reward by step (pale), its running mean (bold), mean reward of greedy "
    "replies to held-out prompts (dots)",
}


def draw_curve(title: str, unit: str, curve: Sequence[float], held_out: Mapping[int, float]) -> str:
    """Return the SVG text of a plot.

    Parameters
    ----------
    unit
        ``loss`` or ``reward``.
    curve
        The value of each step.
    held_out
        Number of steps taken → value on held-out data after these steps.
    """
    low, high = _range([*curve, *held_out.values()])
    steps = max(len(curve), *held_out, 1)

    def xy(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * step / steps
        return x, _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    def line(css_class: str, values: Sequence[float]) -> str:
        stride = -(-len(values) // _MAX_POINTS) or 1
        corners = [xy(i + 1, values[i]) for i in range(0, len(values), stride)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        return f'<polyline class="{css_class}" points="{points}"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>',
        f'<text class="title" x="24" y="30">{escape(title)}</text>',
        f'<text class="small" x="24" y="50">{escape(_CAPTIONS[unit])}</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = low + share * (high - low)
        y = xy(0, value)[1]
        parts += [
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text class="small" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{value:.3g}</text>",
            f'<text class="small" x="{xy(share * steps, low)[0]:.1f}" y="{HEIGHT - 22}" '
            f'text-anchor="middle">{share * steps:.0f}</text>',
        ]
    parts += [line("step", curve), line("mean", running_mean(curve))]
    for step, value in held_out.items():
        x, y = xy(step, value)
        parts.append(f'<circle class="held" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def running_mean(curve: Sequence[float]) -> list[float]:
    """Return an exponential moving average of the values, one result per value.

    >>> running_mean([4.0, 4.0, 4.0])
    [4.0, 4.0, 4.0]
    """
    means: list[float] = []
    decay = 1 - 1 / max(len(curve) / 30, 1)
    total = weight = 0.0
    for value in curve:
        total, weight = decay * total + value, decay * weight + 1
        means.append(total / weight)
    return means


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest value of the y axis."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = 0.0 if 0 <= low < high / 2 else low
    return (low, high) if math.isfinite(high) and high > low else (low - 1, low + 1)
