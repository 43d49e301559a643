"""``archon show`` of a search space: its holes, how many points it has, and one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archon.cli.console import console, emit
from archon.spec.space import Hole, Value

if TYPE_CHECKING:
    from archon.study.space import Space

_MOST_VALUES = 12


def show_space(ref: str, *, as_json: bool) -> None:
    """Print what is chosen, from what and where, and the flowchart of the first point.

    Raises
    ------
    SpecError
        There is no such space.
    """
    from archon.graph.mermaid import mermaid
    from archon.graph.validation.build import build
    from archon.study.space import RejectedError, Space

    space = Space.load(ref)
    try:
        flowchart = mermaid(build(space.build(space.choose(_first)), {}))
    except RejectedError:
        flowchart = None
    if as_json:
        emit(
            {
                "name": space.name,
                "description": space.spec.description,
                "num_points": space.count(),
                "holes": _holes(space),
                "mermaid": flowchart,
            }
        )
        return
    count = space.count()
    points = "more points than can be counted" if count is None else f"{count:,} points"
    console().print(f"{space.name}, {points}: {space.spec.description}")
    _print_holes(space)
    if flowchart is not None:
        console().print("\nwith the first alternative everywhere:")
        print(flowchart, end="")


def _first(hole: Hole) -> Value:
    return hole.low if hole.values is None else hole.values[0]


def _holes(space: Space) -> list[dict[str, Any]]:
    """Each choice once, with how many places it has."""
    rows: dict[str, dict[str, Any]] = {}
    for hole in space.spec.all_holes():
        values: list[Value] = list(hole.alternatives) or [hole.low, hole.high]
        row = {"name": hole.name, "kind": hole.kind, "values": values, "num_places": 0}
        rows.setdefault(hole.name, row)["num_places"] += 1
    return list(rows.values())


def _print_holes(space: Space) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("hole", "places", "alternatives", box=None)
    for row in _holes(space):
        values = [str(value) for value in row["values"]]
        if row["kind"] == "choice":
            more = ["…"] if len(values) > _MOST_VALUES else []
            told = ", ".join(values[:_MOST_VALUES] + more)
        else:
            told = f"{values[0]} to {values[1]}"
        table.add_row(Text(row["name"]), str(row["num_places"]), Text(told))
    console().print(table)
