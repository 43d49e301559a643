"""Draw scaling curves as PNG with matplotlib, if it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archon.errors import StorageError, os_reason
from archon.evals.scaling.draw_svg import LIGHT
from archon.evals.scaling.panels import names, panels
from archon.storage.atomic import replacing


def can_draw_png() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_png(title: str, data: Mapping[str, Any], path: Path) -> None:
    """Write the plot to a PNG file.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    from matplotlib.figure import Figure

    shown, labels = panels(data), names(data)
    figure = Figure(figsize=(5.6 * max(1, len(shown)), 4.6), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(1, max(1, len(shown)), squeeze=False)
    for axes, panel in zip(grid[0], shown, strict=False):
        axes.set_xscale("log", base=2 if panel.counts else 10)
        if panel.counts:
            axes.xaxis.set_major_formatter("{x:g}")
        axes.set_title(panel.title)
        axes.set_xlabel(panel.x_name)
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.grid(axis="y", alpha=0.4)
        for line in panel.lines:
            color = LIGHT[line.curve % len(LIGHT)]
            x, y, low, high = zip(
                *((mark.x, mark.y, mark.low, mark.high) for mark in line.marks), strict=True
            )
            axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
            style = "--" if line.is_extrapolated else "o-"
            label = "_" if line.is_extrapolated else labels[line.curve]
            axes.plot(x, y, style, color=color, label=label)
        axes.legend(fontsize="small")
    try:
        with replacing(path) as part:
            figure.savefig(part, format="png")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {os_reason(error)}") from None
