"""Points of a search space, and the architecture of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.errors import GraphError, SpecError
from archon.graph.bypass import bypass
from archon.graph.topology import reachable
from archon.graph.validation.build import build as build_graph
from archon.spec.architecture import ArchitectureSpec, JoinNode
from archon.spec.messages import json_path
from archon.spec.reader import Reference, load_space
from archon.spec.space import FORBID, Hole, SpaceSpec, Value, is_hole
from archon.spec.strict_json import JsonPath
from archon.spec.validation import parse

if TYPE_CHECKING:
    from optuna.trial import Trial

MAX_CHECKED = 1000
"""Larger spaces are checked at this many random points."""
MAX_COUNTED = 1_000_000

Point = Mapping[str, Value]
"""Hole → its value, for every hole that exists at the point."""


class RejectedError(SpecError):
    """The point is not valid: a constraint forbids it, or it omits a node that is needed."""

    number: int | None = None
    """The number of the constraint."""


@dataclass(frozen=True)
class Space:
    """A family of architectures that differ in the values of their holes.

    ::

        space = Space.load("small")
        def objective(trial):
            architecture = archon.load(space.build(space.suggest(trial)).model_dump())
            return archon.evaluate(architecture, "arithmetic", limit=50).accuracy
    """

    spec: SpaceSpec
    file: str | None = None
    base_dir: Path = field(default_factory=Path.cwd)

    @classmethod
    def load(cls, ref: Reference) -> Space:
        """Load a space by its name in the catalogue, from a path, or from data as a dict.

        Raises
        ------
        SpecError
            The file does not exist, or it declares no space.
        """
        loaded = load_space(ref)
        return cls(loaded.spec, loaded.file, loaded.base_dir)

    @property
    def name(self) -> str:
        """The name in its file."""
        return self.spec.name

    @cached_property
    def _by_path(self) -> dict[JsonPath, Hole]:
        return {hole.path: hole for hole in self.spec.all_holes()}

    @cached_property
    def _by_name(self) -> dict[str, Hole]:
        """Name → the first hole of that name."""
        return {hole.name: hole for hole in reversed(list(self.spec.all_holes()))}

    # -------------------------------------------------------------------------------- points

    def choose(self, chooser: Callable[[Hole], Value]) -> dict[str, Value]:
        """Make the point at which ``chooser`` gives the value of each hole that exists.

        It is called once for each name, for outer holes before those inside a chosen alternative.
        """
        point: dict[str, Value] = {}
        stack = list(reversed(self.spec.holes))
        while stack:
            hole = stack.pop()
            if hole.name not in point:
                point[hole.name] = chooser(hole)
            stack.extend(reversed(_inner_holes(hole, point[hole.name])))
        return point

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """Let an Optuna trial suggest a point; custom studies may use it too."""

        def ask(hole: Hole) -> Value:
            match hole.kind:
                case "choice":
                    return trial.suggest_categorical(hole.name, list(hole.alternatives))
                case "int":
                    return trial.suggest_int(
                        hole.name, int(hole.low), int(hole.high), log=hole.is_log
                    )
                case _:
                    return trial.suggest_float(hole.name, hole.low, hole.high, log=hole.is_log)

        return self.choose(ask)

    def random_point(self, rng: random.Random) -> dict[str, Value]:
        """Sample a point, uniform in every hole; a constraint may forbid it."""

        def sample(hole: Hole) -> Value:
            values = hole.values
            return rng.uniform(hole.low, hole.high) if values is None else rng.choice(values)

        return self.choose(sample)

    @property
    def is_enumerable(self) -> bool:
        """True if all points can be listed: no hole is a ``$float``."""
        return all(hole.values is not None for hole in self.spec.all_holes())

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every point that no constraint forbids, in the order of the file.

        Raises
        ------
        SpecError
            The space has a ``$float``, whose values cannot be listed.
        """
        for hole in self.spec.all_holes():
            if hole.values is None:
                reason = "has too many values to list; use $choice or $int to list all points"
                raise SpecError(reason, file=self.file, path=json_path(hole.path))
        stack: list[tuple[dict[str, Value], tuple[Hole, ...]]] = [({}, self.spec.holes)]
        while stack:
            point, waiting = stack.pop()
            if not waiting:
                if self.forbidding(point) is None:
                    yield point
                continue
            hole, rest = waiting[0], waiting[1:]
            values = [point[hole.name]] if hole.name in point else hole.values or ()
            stack.extend(
                ({**point, hole.name: value}, (*_inner_holes(hole, value), *rest))
                for value in reversed(values)
            )

    def count(self) -> int | None:
        """Count the points that no constraint forbids; None if they are more than a million."""
        if not self.is_enumerable:
            return None
        number = 0
        for number, _ in enumerate(self.points(), start=1):
            if number > MAX_COUNTED:
                return None
        return number

    def forbidding(self, point: Point) -> int | None:
        """Return the number of the first constraint that forbids a point; None if none does."""
        if not self.spec.forbidden:
            return None
        values = {name: self._by_name[name].scalar(value) for name, value in point.items()}
        for number, clauses in enumerate(self.spec.forbidden):
            if all(clause.matches(values) for clause in clauses):
                return number
        return None

    # ------------------------------------------------------------------------- architectures

    def build(self, point: Point) -> ArchitectureSpec:
        """Build the architecture of a point.

        A node chosen as null is bypassed (``archon.graph.bypass``); its inputs are those of the
        first node among its alternatives, or none if these are a hole. Nodes without a path to the
        output are removed, and so are ``join`` nodes with one input.

        Raises
        ------
        RejectedError
            A constraint forbids the point, or a node that it omits is needed.
        SpecError, GraphError
            The result is not a valid architecture; the error names the place.
        """
        number = self.forbidding(point)
        if number is not None:
            path = json_path([FORBID, number])
            error = RejectedError("forbids this point", file=self.file, path=path)
            error.number = number
            raise error
        data = _filled(self.spec.data, (), self._by_path, point)
        absent = self._put_placeholders(data, point)
        spec = parse(ArchitectureSpec, data, self.file)
        try:
            for node in absent:
                spec = bypass(spec, node)
            spec = _without_idle_joins(_without_unread(spec))
            if absent:  # the caller checks the complete file when loading it
                build_graph(spec, {})
        except GraphError as error:
            if not absent:
                raise
            reason = f"without {', '.join(map(repr, absent))}: {error.reason}"
            raise RejectedError(reason, file=self.file, path=error.path) from None
        return spec

    def _put_placeholders(self, data: dict[str, Any], point: Point) -> list[str]:
        """Put a join, which ``bypass`` removes later, where a node is null; return their names."""
        template, path = self._chosen(self.spec.data.get("nodes"), ("nodes",), point)
        absent = []
        if not isinstance(template, dict) or not isinstance(data.get("nodes"), dict):
            return []
        for node, value in template.items():
            if data["nodes"].get(node) is None and is_hole(value):
                first = _first_node(value)
                if first is None:
                    reason = "null needs a node among the other alternatives, for its inputs"
                    raise SpecError(reason, file=self.file, path=json_path((*path, node)))
                data["nodes"][node] = {"type": "join", "inputs": _inputs_of(first)}
                absent.append(node)
        return absent

    def _chosen(self, value: Any, path: JsonPath, point: Point) -> tuple[Any, JsonPath]:
        """Return the chosen alternative if the value is a hole, else the value itself."""
        while (hole := self._by_path.get(path)) is not None and hole.kind == "choice":
            alternative = hole.alternatives[str(point[hole.name])]
            value, path = alternative.data, alternative.path
        return value, path


def _inner_holes(hole: Hole, value: Value) -> Sequence[Hole]:
    """Return the holes inside the alternative that is chosen for a hole."""
    return hole.alternatives[str(value)].holes if hole.kind == "choice" else ()


def _filled(value: Any, path: JsonPath, holes: Mapping[JsonPath, Hole], point: Point) -> Any:
    hole = holes.get(path)
    if hole is not None:
        chosen = point[hole.name]
        if hole.kind != "choice":
            return chosen
        alternative = hole.alternatives[str(chosen)]
        return _filled(alternative.data, alternative.path, holes, point)
    if isinstance(value, dict):
        return {key: _filled(child, (*path, key), holes, point) for key, child in value.items()}
    if isinstance(value, list):
        return [_filled(child, (*path, i), holes, point) for i, child in enumerate(value)]
    return value


def _first_node(value: Any) -> dict[str, Any] | None:
    """Return the first node among the alternatives of a hole, nested holes included."""
    if not isinstance(value, dict):
        return None
    if not is_hole(value):
        return value
    listed = value.get("$choice", ())
    found = map(_first_node, listed.values() if isinstance(listed, dict) else listed)
    return next((node for node in found if node is not None), None)


def _inputs_of(node: Mapping[str, Any]) -> list[Any]:
    """Return a node's inputs; none if they depend on a choice."""
    inputs = node.get("inputs", [])
    known = isinstance(inputs, list) and not any(is_hole(name) for name in inputs)
    return list(inputs) if known else []


def _without_unread(spec: ArchitectureSpec) -> ArchitectureSpec:
    read = reachable({name: node.inputs for name, node in spec.nodes.items()}, [spec.output])
    nodes = {node_id: node for node_id, node in spec.nodes.items() if node_id in read}
    return spec.model_copy(update={"nodes": nodes}) if nodes else spec


def _without_idle_joins(spec: ArchitectureSpec) -> ArchitectureSpec:
    for node_id, node in spec.nodes.items():
        if isinstance(node, JoinNode) and len(node.inputs) == 1 and node.when is None:
            spec = bypass(spec, node_id)
    return spec


@dataclass(frozen=True)
class SpaceCheck:
    """The result of checking the points of a space."""

    num_points: int | None
    """Points that no constraint forbids; None if they cannot be counted."""
    num_checked: int
    num_valid: int
    """Of the checked points."""
    rejected: Mapping[str, int]
    """Reason → the number of checked points that were rejected for it."""


def check(space: Space, load: Callable[[ArchitectureSpec], object], seed: int = 0) -> SpaceCheck:
    """Build every point of a space, or a thousand random ones if it has more.

    Parameters
    ----------
    load
        Loads a point's architecture, and raises if it is not valid.

    Raises
    ------
    SpecError, GraphError
        A point that no constraint forbids is not a valid architecture, no point is valid, or a
        node is unused at every point.
    """
    num_points = space.count()
    rejected: dict[str, int] = {}
    num_checked, read = 0, set[str]()
    for point in _to_check(space, num_points, seed):
        num_checked += 1
        try:
            spec = space.build(point)
            load(spec)
            read |= set(spec.nodes)
        except RejectedError as error:
            why = error.reason if error.number is None else f"$forbid[{error.number}]"
            rejected[why] = rejected.get(why, 0) + 1
        except (SpecError, GraphError) as error:
            values = ", ".join(f"{name} = {value}" for name, value in point.items())
            first, *others = error.in_file(space.file).errors
            raise SpecError(
                f"{first.reason}\n  at the point {values}",
                file=first.file,
                path=first.path,
                references=first.references,
                others=others,
            ) from None
    num_valid = num_checked - sum(rejected.values())
    if not num_valid:
        reason = f"{FORBID} forbids every point of the space"
        if num_checked:
            why = ", ".join(f"{number:,} by {reason}" for reason, number in rejected.items())
            reason = f"no point of the space is valid: of {num_checked:,} checked points, {why}"
        raise SpecError(reason, file=space.file)
    nodes = space.spec.data.get("nodes")
    unread = [node for node in nodes if node not in read] if not is_hole(nodes) and nodes else []
    if unread and num_checked == num_points:
        reason = f"at no point of the space does the node {unread[0]!r} lead to the output"
        raise SpecError(reason, file=space.file, path=json_path(["nodes", unread[0]]))
    return SpaceCheck(num_points, num_checked, num_valid, rejected)


def _to_check(space: Space, num_points: int | None, seed: int) -> Iterator[dict[str, Value]]:
    if num_points is not None and num_points <= MAX_CHECKED:
        yield from space.points()
        return
    rng = random.Random(seed)
    for _ in range(MAX_CHECKED):
        yield space.random_point(rng)
