"""Draw a graph as an inline SVG, for notebooks: no scripts, no fonts, nothing from elsewhere.

Nodes stand in columns from the question on the left to the answer on the right. The column of a
node is the length of the longest path to it, so every edge leads to the right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from html import escape

from archon.graph.nodes.registry import NODE_TYPES
from archon.graph.validation.build import Graph
from archon.spec.architecture import AnyNode

_WIDTH, _HEIGHT = 168, 56
"""Size of a node in pixels."""
_GAP_X, _GAP_Y = 48, 18
_MAX_LABEL = 24
_QUESTION, _ANSWER = "", " "
"""Keys of the two ends in the layout; no node can have them as ids."""


def svg(graph: Graph) -> str:
    """Return the drawing of a graph, in the colour of the text around it."""
    columns = _columns(graph)
    rows = max(map(len, columns.values()))
    width = len(columns) * (_WIDTH + _GAP_X) - _GAP_X + 2
    height = rows * (_HEIGHT + _GAP_Y) - _GAP_Y + 2
    places: dict[str, tuple[float, float]] = {}
    for number, column in columns.items():
        offset = (height - (len(column) * (_HEIGHT + _GAP_Y) - _GAP_Y)) / 2
        for row, name in enumerate(column):
            places[name] = (1 + number * (_WIDTH + _GAP_X), offset + row * (_HEIGHT + _GAP_Y))
    parts = [_edge(places[source], places[target]) for source, target in _edges(graph)]
    parts.append(_box(places[_QUESTION], ["question"], is_end=True))
    for name, node in graph.spec.nodes.items():
        parts.append(_box(places[name], _lines(name, node), is_end=False))
    parts.append(_box(places[_ANSWER], ["answer"], is_end=True))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" style="max-width:100%;height:auto" '
        'font-family="sans-serif" font-size="12" fill="none" stroke="currentColor">'
        f"<title>{escape(graph.spec.name)}</title>{''.join(parts)}</svg>"
    )


def _columns(graph: Graph) -> dict[int, list[str]]:
    """Return column → its nodes, in file order."""
    depth = {_QUESTION: 0}
    for name in graph.order:
        sources = graph.inputs[name] or (_QUESTION,)
        depth[name] = 1 + max(depth[source] for source in sources)
    depth[_ANSWER] = 1 + max(depth.values())
    columns: defaultdict[int, list[str]] = defaultdict(list)
    for name in (_QUESTION, *graph.spec.nodes, _ANSWER):
        columns[depth[name]].append(name)
    return dict(sorted(columns.items()))


def _edges(graph: Graph) -> Iterator[tuple[str, str]]:
    for name, sources in graph.inputs.items():
        for source in sources or (_QUESTION,):
            yield source, name
    yield graph.spec.output, _ANSWER


def _edge(source: tuple[float, float], target: tuple[float, float]) -> str:
    x, y = source[0] + _WIDTH, source[1] + _HEIGHT / 2
    end_x, end_y = target[0], target[1] + _HEIGHT / 2
    bend = _GAP_X / 2
    return (
        f'<path d="M{x:g} {y:g} C{x + bend:g} {y:g} {end_x - bend:g} {end_y:g} '
        f'{end_x - 6:g} {end_y:g}" stroke-opacity="0.5"/>'
        f'<path d="M{end_x - 6:g} {end_y - 4:g} l6 4 l-6 4 z" fill="currentColor" '
        'stroke="none" fill-opacity="0.5"/>'
    )


def _box(place: tuple[float, float], lines: list[str], *, is_end: bool) -> str:
    x, y = place
    radius = _HEIGHT / 2 if is_end else 6
    middle = x + _WIDTH / 2
    first = y + _HEIGHT / 2 + 4 - 8 * (len(lines) - 1)
    texts = "".join(
        f'<text x="{middle:g}" y="{first + 16 * i:g}" text-anchor="middle" stroke="none" '
        f'fill="currentColor" font-weight="{400 if i or is_end else 700}">'
        f"{escape(_short(line))}</text>"
        for i, line in enumerate(lines)
    )
    return f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="{radius:g}"/>{texts}'


def _lines(name: str, node: AnyNode) -> list[str]:
    """Return the lines of a node's label: id, type and role, parameters."""
    lines = [name, f"{node.type} · {node.role}" if node.role else node.type]
    if parameters := ", ".join(NODE_TYPES[node.type].label(node)):
        lines.append(parameters)
    return lines


def _short(line: str) -> str:
    text = "".join(char if char.isprintable() else " " for char in line)
    return text if len(text) <= _MAX_LABEL else text[: _MAX_LABEL - 1] + "…"
