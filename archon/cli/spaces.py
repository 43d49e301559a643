"""``archon show SPACE``: print a space's size, parameters and first configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archon.cli.console import ResultPrinter, emit
from archon.spec.space import Parameter, Value

if TYPE_CHECKING:
    from rich.table import Table

    from archon.study.space import Space

_MAX_VALUES = 12


def size_text(num_configurations: int | None) -> str:
    """Format a space's number of configurations. None means that there are too many to count."""
    if num_configurations is None:
        return "too many configurations to count"
    return f"{num_configurations:,} configuration{'' if num_configurations == 1 else 's'}"


def show_space(ref: str, *, as_json: bool) -> None:
    """Print the parameters of a space, and the flowchart of its first configuration.

    Raises
    ------
    SpecError
        The space does not exist, or its file is invalid.
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
                "holes": _parameters(space),
                "mermaid": flowchart,
            }
        )
        return
    out = ResultPrinter()
    out.line(f"{space.name}, {size_text(space.count())}: {space.spec.description}")
    out.table(_parameter_table(space))
    if flowchart is not None:
        out.line("\nthe first configuration:")
        print(flowchart, end="")


def _first(hole: Parameter) -> Value:
    return hole.low if hole.values is None else hole.values[0]


def _parameters(space: Space) -> list[dict[str, Any]]:
    """Return one row per parameter; ``num_places`` is its number of occurrences in the file."""
    rows: dict[str, dict[str, Any]] = {}
    for hole in space.spec.all_parameters():
        values: list[Value] = list(hole.alternatives) or [hole.low, hole.high]
        row = {"name": hole.name, "kind": hole.kind, "values": values, "num_places": 0}
        rows.setdefault(hole.name, row)["num_places"] += 1
    return list(rows.values())


def _parameter_table(space: Space) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("parameter", "places", "values", box=None)
    for row in _parameters(space):
        values = [str(value) for value in row["values"]]
        if row["kind"] == "choice":
            more = ["…"] if len(values) > _MAX_VALUES else []
            shown = ", ".join(values[:_MAX_VALUES] + more)
        else:
            shown = f"{values[0]} to {values[1]}"
        table.add_row(Text(row["name"]), str(row["num_places"]), Text(shown))
    return table
