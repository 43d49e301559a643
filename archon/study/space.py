"""The configurations of a search space, and the architecture of each configuration."""

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
from archon.spec.space import FORBID, Parameter, SpaceSpec, Value, is_parameter
from archon.spec.strict_json import JsonPath
from archon.spec.validation import parse

if TYPE_CHECKING:
    from optuna.trial import Trial

MAX_CHECKED = 1000
"""Number of random configurations that are checked in a larger space."""
MAX_COUNTED = 1_000_000

Point = Mapping[str, Value]
"""A configuration: name of a parameter → value. It does not contain parameters inside alternatives
that are not chosen."""


class RejectedError(SpecError):
    """A configuration is forbidden by a constraint, or omits a node that another one needs."""

    number: int | None = None
    """Index of the constraint in the space's list; None if a needed node is missing."""


@dataclass(frozen=True)
class Space:
    """A search space: an architecture with parameters, such as the number of samples.

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
            The file does not exist, or it is not a valid space.
        """
        loaded = load_space(ref)
        return cls(loaded.spec, loaded.file, loaded.base_dir)

    @property
    def name(self) -> str:
        """The space's name, as stated in its file."""
        return self.spec.name

    @cached_property
    def _by_path(self) -> dict[JsonPath, Parameter]:
        return {parameter.path: parameter for parameter in self.spec.all_parameters()}

    @cached_property
    def _by_name(self) -> dict[str, Parameter]:
        """Name → the first parameter with that name in the file."""
        return {p.name: p for p in reversed(list(self.spec.all_parameters()))}

    # ------------------------------------------------------------------------ configurations

    def choose(self, chooser: Callable[[Parameter], Value]) -> dict[str, Value]:
        """Make a configuration: call ``chooser`` with each parameter, and use the value it returns.

        It is called once per name. A parameter comes before the parameters inside the alternative
        that is chosen for it; those of other alternatives are left out.
        """
        point: dict[str, Value] = {}
        stack = list(reversed(self.spec.parameters))
        while stack:
            parameter = stack.pop()
            if parameter.name not in point:
                point[parameter.name] = chooser(parameter)
            stack.extend(reversed(_inner_parameters(parameter, point[parameter.name])))
        return point

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """Return the configuration that an Optuna trial suggests. Custom studies can use this."""

        def ask(parameter: Parameter) -> Value:
            name, low, high = parameter.name, parameter.low, parameter.high
            match parameter.kind:
                case "choice":
                    return trial.suggest_categorical(name, list(parameter.alternatives))
                case "int":
                    return trial.suggest_int(name, int(low), int(high), log=parameter.is_log)
                case _:
                    return trial.suggest_float(name, low, high, log=parameter.is_log)

        return self.choose(ask)

    def random_point(self, rng: random.Random) -> dict[str, Value]:
        """Sample each parameter uniformly. The configuration may be forbidden by a constraint."""

        def sample(parameter: Parameter) -> Value:
            if parameter.values is None:
                return rng.uniform(parameter.low, parameter.high)
            return rng.choice(parameter.values)

        return self.choose(sample)

    @property
    def is_enumerable(self) -> bool:
        """True if all configurations can be listed, because no parameter is a ``$float``."""
        return all(parameter.values is not None for parameter in self.spec.all_parameters())

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every configuration that no constraint forbids, in file order.

        Raises
        ------
        SpecError
            The space has a ``$float``, whose values cannot be listed.
        """
        for parameter in self.spec.all_parameters():
            if parameter.values is None:
                reason = "the parameter has too many values to list; use $choice or $int instead"
                raise SpecError(reason, file=self.file, path=json_path(parameter.path))
        stack: list[tuple[dict[str, Value], tuple[Parameter, ...]]] = [({}, self.spec.parameters)]
        while stack:
            point, waiting = stack.pop()
            if not waiting:
                if self.forbidding(point) is None:
                    yield point
                continue
            parameter, rest = waiting[0], waiting[1:]
            name = parameter.name
            values = [point[name]] if name in point else parameter.values or ()
            stack.extend(
                ({**point, name: value}, (*_inner_parameters(parameter, value), *rest))
                for value in reversed(values)
            )

    def count(self) -> int | None:
        """Return the number of configurations that no constraint forbids; None above a million."""
        if not self.is_enumerable:
            return None
        number = 0
        for number, _ in enumerate(self.points(), start=1):
            if number > MAX_COUNTED:
                return None
        return number

    def forbidding(self, point: Point) -> int | None:
        """Return the index of the first constraint that forbids a configuration, or None."""
        if not self.spec.forbidden:
            return None
        values = {name: self._by_name[name].scalar(value) for name, value in point.items()}
        for number, clauses in enumerate(self.spec.forbidden):
            if all(clause.matches(values) for clause in clauses):
                return number
        return None

    # ------------------------------------------------------------------------- architectures

    def build(self, point: Point) -> ArchitectureSpec:
        """Build the architecture of a configuration.

        If null is chosen for a node, the node is bypassed (``archon.graph.bypass``). It passes on
        the inputs of the first node among its alternatives, or nothing if these inputs are a
        parameter. Nodes without a path to the output are removed, and so are ``join``
        nodes with one input.

        Raises
        ------
        RejectedError
            A constraint forbids the configuration, or it omits a node that another one needs.
        SpecError, GraphError
            The result is not a valid architecture; the error states the JSON path.
        """
        number = self.forbidding(point)
        if number is not None:
            path = json_path([FORBID, number])
            error = RejectedError("forbids this configuration", file=self.file, path=path)
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
        """Replace each null node by a ``join``, which ``bypass`` removes later.

        Returns
        -------
        The names of these nodes.
        """
        template, path = self._chosen(self.spec.data.get("nodes"), ("nodes",), point)
        absent = []
        if not isinstance(template, dict) or not isinstance(data.get("nodes"), dict):
            return []
        for node, value in template.items():
            if data["nodes"].get(node) is None and is_parameter(value):
                first = _first_node(value)
                if first is None:
                    reason = (
                        "null needs another alternative that is a node, whose inputs it passes on"
                    )
                    raise SpecError(reason, file=self.file, path=json_path((*path, node)))
                data["nodes"][node] = {"type": "join", "inputs": _inputs_of(first)}
                absent.append(node)
        return absent

    def _chosen(self, value: Any, path: JsonPath, point: Point) -> tuple[Any, JsonPath]:
        """Return the alternative chosen for a parameter; return any other value unchanged."""
        while (parameter := self._by_path.get(path)) is not None and parameter.kind == "choice":
            alternative = parameter.alternatives[str(point[parameter.name])]
            value, path = alternative.data, alternative.path
        return value, path


def _inner_parameters(parameter: Parameter, value: Value) -> Sequence[Parameter]:
    """Return the parameters inside the chosen alternative of a parameter."""
    return parameter.alternatives[str(value)].parameters if parameter.kind == "choice" else ()


def _filled(
    value: Any, path: JsonPath, parameters: Mapping[JsonPath, Parameter], point: Point
) -> Any:
    """Return a copy of a JSON value in which the chosen values replace the parameters."""
    parameter = parameters.get(path)
    if parameter is not None:
        chosen = point[parameter.name]
        if parameter.kind != "choice":
            return chosen
        alternative = parameter.alternatives[str(chosen)]
        return _filled(alternative.data, alternative.path, parameters, point)
    if isinstance(value, dict):
        return {k: _filled(child, (*path, k), parameters, point) for k, child in value.items()}
    if isinstance(value, list):
        return [_filled(child, (*path, i), parameters, point) for i, child in enumerate(value)]
    return value


def _first_node(value: Any) -> dict[str, Any] | None:
    """Return the first node among the alternatives of a parameter, including nested ones."""
    if not isinstance(value, dict):
        return None
    if not is_parameter(value):
        return value
    listed = value.get("$choice", ())
    found = map(_first_node, listed.values() if isinstance(listed, dict) else listed)
    return next((node for node in found if node is not None), None)


def _inputs_of(node: Mapping[str, Any]) -> list[Any]:
    """Return a node's inputs; empty if they contain a parameter."""
    inputs = node.get("inputs", [])
    known = isinstance(inputs, list) and not any(is_parameter(name) for name in inputs)
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
    """Numbers of checked, valid and rejected configurations of a space."""

    num_points: int | None
    """Number of configurations that no constraint forbids; None if there are too many to count."""
    num_checked: int
    num_valid: int
    """Number of checked configurations that are valid."""
    rejected: Mapping[str, int]
    """Reason for a rejection → number of checked configurations."""


def check(space: Space, load: Callable[[ArchitectureSpec], object], seed: int = 0) -> SpaceCheck:
    """Check a space: build all its configurations, or a thousand random ones if it has more.

    Parameters
    ----------
    load
        Function that loads an architecture, and raises an error if it is not valid.

    Raises
    ------
    SpecError, GraphError
        A configuration that no constraint forbids is not a valid architecture. Or no configuration
        is valid. Or a node is unused in every configuration.
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
                f"{first.reason}\n  in the configuration {values}",
                file=first.file,
                path=first.path,
                references=first.references,
                others=others,
            ) from None
    num_valid = num_checked - sum(rejected.values())
    if not num_valid:
        reason = f"{FORBID} forbids every configuration of the space"
        if num_checked:
            why = ", ".join(f"{number:,} by {cause}" for cause, number in rejected.items())
            reason = f"of {num_checked:,} configurations checked, all were rejected: {why}"
        raise SpecError(reason, file=space.file)
    nodes = space.spec.data.get("nodes")
    unread = [] if is_parameter(nodes) or not nodes else [n for n in nodes if n not in read]
    if unread and num_checked == num_points:
        reason = f"no configuration of the space has a path from {unread[0]!r} to the output"
        raise SpecError(reason, file=space.file, path=json_path(["nodes", unread[0]]))
    return SpaceCheck(num_points, num_checked, num_valid, rejected)


def _to_check(space: Space, num_points: int | None, seed: int) -> Iterator[dict[str, Value]]:
    if num_points is not None and num_points <= MAX_CHECKED:
        yield from space.points()
        return
    rng = random.Random(seed)
    for _ in range(MAX_CHECKED):
        yield space.random_point(rng)
