"""Draw a comparison as an SVG file, with a bar for each contender, and the ratios.

The picture has its own background, and supports dark mode, so that it is readable on any page.
Layout is in pixels; the text uses the system's sans-serif font.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH = 760
_MARGIN, _LABEL_WIDTH, _VALUE_WIDTH = 24, 150, 190
_BAR_HEIGHT, _BAR_STEP = 22, 34
_HEAD_HEIGHT, _PANEL_HEAD, _PANEL_GAP = 72, 34, 22
_BAR_SPACE = WIDTH - 2 * _MARGIN - _LABEL_WIDTH - _VALUE_WIDTH
_STYLE = """
.card{fill:#ffffff;stroke:#d0d7de}
text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-size:17px;font-weight:600}.panel{font-size:14px;font-weight:600}
.label,.value{font-size:13px}.label{text-anchor:end}.small{font-size:12px;fill:#59636e}
.ours{fill:#0969da}.peer{fill:#8c959f}
@media (prefers-color-scheme:dark){.card{fill:#151b23;stroke:#3d444d}text{fill:#f0f6fc}
.small{fill:#9198a1}.ours{fill:#4493f8}.peer{fill:#656c76}}
"""
_TITLES = {
    "graph": "{num_prompts} questions × {samples_per_prompt} samples × {new_tokens} tokens, "
    "{shared_prefix_tokens} of {prompt_tokens} prompt tokens shared",
    "single": "one sequence, decoding {new_tokens} tokens",
}


def draw(result: Mapping[str, Any]) -> str:
    """Draw the result of ``archon bench peers``; return the SVG text."""
    parts, top = [], _HEAD_HEIGHT
    for workload in result["workloads"]:
        bars = [bar for bar in workload["contenders"] if bar["completion_tokens_per_second"]]
        if bars:
            parts += _panel(workload, bars, top)
            top += _PANEL_HEAD + len(bars) * _BAR_STEP + _PANEL_GAP
    machine = result["machine"]
    title = f"{result['model']}: completion tokens per second"
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}"
    how = f"medians of {result['pairs']} interleaved rounds"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        f'width="{WIDTH}" height="{top}" role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{top - 1}" rx="8"/>',
        _text("title", _MARGIN, 34, title),
        _text("small", _MARGIN, 55, f"{where}; {how}"),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _panel(workload: Mapping[str, Any], bars: Sequence[Mapping[str, Any]], top: int) -> list[str]:
    title = _TITLES[workload["workload"]].format(**workload)
    parts = [_text("panel", _MARGIN, top + 16, title)]
    fastest = max(bar["completion_tokens_per_second"] for bar in bars)
    left = _MARGIN + _LABEL_WIDTH
    for number, bar in enumerate(bars):
        y = top + _PANEL_HEAD + number * _BAR_STEP
        rate = bar["completion_tokens_per_second"]
        width = max(2.0, _BAR_SPACE * rate / fastest)
        kind = "ours" if bar["name"].startswith("archon") else "peer"
        middle = y + _BAR_HEIGHT / 2 + 5
        parts += [
            _text("label", left - 10, middle, _label(bar)),
            f'<rect class="{kind}" x="{left}" y="{y}" width="{width:.1f}" '
            f'height="{_BAR_HEIGHT}" rx="3"/>',
            _text("value", left + width + 8, middle, _value(workload, bar["name"], rate)),
        ]
    return parts


def _label(bar: Mapping[str, Any]) -> str:
    precision = (bar["settings"] or {}).get("precision")
    return f"archon, {precision}" if precision else str(bar["name"])


def _value(workload: Mapping[str, Any], name: str, rate: float) -> str:
    """Return the text after a bar: the rate and, for a peer, the ratio of Archon's rate to it."""
    shown = f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
    ratios = [r for r in workload["ratios"] if r["peer"] == name]
    if not ratios:
        return shown
    best = max(ratios, key=lambda r: float(r["ratio"]))
    return f"{shown}   ({best['archon']} {best['ratio']:.1f} ×)"


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'
