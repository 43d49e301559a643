from __future__ import annotations

import re

import pytest

from archon.train.curve_svg import HEIGHT, draw_curve


@pytest.mark.parametrize(
    "curve", [[2.0, 1.0, 0.5], [-1.0, 0.5], [-3.0, -1.0], [0.0, 0.0], [-2.0, -2.0], [5.0], []]
)
def test_every_value_is_inside_the_plot(curve: list[float]) -> None:
    svg = draw_curve("rewards", "reward", curve, {0: min(curve, default=0.0)})
    points = [p for line in re.findall(r'points="([^"]*)"', svg) for p in line.split()]
    heights = [float(point.split(",")[1]) for point in points]
    heights += [float(y) for y in re.findall(r'cy="([^"]*)"', svg)]
    assert heights
    assert all(0 < y < HEIGHT for y in heights)
