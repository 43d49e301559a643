"""Draw an architecture as an SVG image: nodes in columns, edges from left to right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from archon.graph.nodes.registry import NODE_TYPES
from archon.graph.topology import topological_order
from archon.graph.validation.build import Graph

WIDTH, HEIGHT = 148, 44
GAP_X, GAP_Y = 44, 14
MAX_TEXT = 24  # characters that fit into a box


def svg(graph: Graph) -> str:
    """Return the image of a graph. Its colours are those of the page that contains it."""
    columns = _columns(graph.inputs)
    tallest = max(len(column) for column in columns)
    height = tallest * (HEIGHT + GAP_Y) + 2 * GAP_Y
    width = len(columns) * (WIDTH + GAP_X) + GAP_X
    corners = {
        node: (
            GAP_X + x * (WIDTH + GAP_X),
            (height - len(column) * (HEIGHT + GAP_Y) + GAP_Y) / 2 + y * (HEIGHT + GAP_Y),
        )
        for x, column in enumerate(columns)
        for y, node in enumerate(column)
    }
    edges = [
        _edge(corners[source], corners[node])
        for node, sources in graph.inputs.items()
        for source in dict.fromkeys(sources)
    ]
    boxes = [_box(graph, node, *corner) for node, corner in corners.items()]
    return (
        f'<svg class="architecture" role="img" viewBox="0 0 {width} {height:g}" '
        f'style="max-width: {width}px" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(graph.spec.name)}</title>{''.join(edges)}{''.join(boxes)}</svg>"
    )


def _columns(inputs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Group the nodes by the longest path that leads to them."""
    depth: dict[str, int] = {}
    for node in topological_order(inputs):
        depth[node] = max((depth[source] + 1 for source in inputs[node]), default=0)
    columns: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for node in inputs:
        columns[depth[node]].append(node)
    return columns


def _edge(source: tuple[float, float], target: tuple[float, float]) -> str:
    x1, y1 = source[0] + WIDTH, source[1] + HEIGHT / 2
    x2, y2 = target[0], target[1] + HEIGHT / 2
    if x2 - x1 > GAP_X:  # under the nodes between them
        low = max(y1, y2) + HEIGHT + GAP_Y
        return _path(f"M{x1:g} {y1:g}C{x1 + GAP_X:g} {low:g} {x2 - GAP_X:g} {low:g} {x2:g} {y2:g}")
    middle = (x1 + x2) / 2
    return _path(f"M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}")


def _path(points: str) -> str:
    return (
        f'<path class="edge" fill="none" stroke="currentColor" stroke-opacity="0.45" d="{points}"/>'
    )


def _box(graph: Graph, name: str, x: float, y: float) -> str:
    node = graph.spec.nodes[name]
    is_output = name == graph.spec.output
    details = ", ".join(NODE_TYPES[node.type].label(node))
    second = " ".join([node.type, *_shown_parameters(NODE_TYPES[node.type].label(node))])
    return (
        f'<g transform="translate({x:g} {y:g})"><title>{escape(f"{name}: {node.type} {details}")}'
        f'</title><rect class="{node.type}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
        f'fill="currentColor" fill-opacity="{0.16 if is_output else 0.06}" stroke="currentColor"/>'
        f'<text x="{WIDTH / 2}" y="19" text-anchor="middle" font-size="13" font-weight="600" '
        f'fill="currentColor">{escape(_short(name))}</text>'
        f'<text x="{WIDTH / 2}" y="34" text-anchor="middle" font-size="11" '
        f'fill="currentColor" fill-opacity="0.8">{escape(_short(second))}</text></g>'
    )


def _shown_parameters(parameters: Iterable[str]) -> Iterator[str]:
    """Yield the method and the number of samples, as short as possible."""
    for parameter in parameters:
        name, _, value = parameter.partition(" ")
        if name == "method":
            yield value
        elif name == "samples":
            yield f"×{value}"


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
