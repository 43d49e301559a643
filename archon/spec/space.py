"""Search space files: architectures with holes, the parameters of the search.

::

    {"$choice": [1, 4, 8]}                  one of a list
    {"$choice": {"cheap": 1, "dear": 8}}    one of several labelled alternatives
    {"$int": [1, 16], "$log": true}         an integer, both ends included
    {"$float": [0.2, 1.2]}                  a number

A hole may replace any value. An alternative may be any JSON value and may contain further holes,
which exist only if it is chosen. Holes with the same ``$name`` are a single choice: they must have
the same range or the same labels. By default a hole's name is its path.

``$forbid``, next to ``nodes``, excludes configurations. It is a list of objects hole → value; each
excludes the configurations that match all its entries. A value is a label or number, a list of
them, or ``{"not": …}``, ``{"above": …}`` or ``{"below": …}`` with a number; the last two also take
the name of another hole. An alternative without a label is identified by its value, such as
``null`` or ``8``. ``above`` and ``below`` compare labels that are numbers as numbers. A hole that
does not exist in a configuration matches nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from archon.errors import SpecError, together
from archon.spec.common import MAX_COUNT
from archon.spec.messages import json_path, shown, suggestion
from archon.spec.strict_json import JsonPath, walk

HOLES = ("$choice", "$int", "$float")
FORBID = "$forbid"
_KEYS = {"$choice": {"$name"}, "$int": {"$name", "$log"}, "$float": {"$name", "$log"}}
_TESTS = ("not", "above", "below")

Value = str | int | float
"""The choice for a hole: the label of an alternative, or a number."""
Scalar = str | int | float | bool | None
"""A value as constraints name and compare it."""


def is_hole(value: object) -> bool:
    """Return True if a value in a file is a hole."""
    return isinstance(value, dict) and any(key in value for key in HOLES)


@dataclass(frozen=True)
class Alternative:
    """One member of a ``$choice``."""

    label: str
    has_own_label: bool
    """The label is from the file, not generated."""
    data: Any
    path: JsonPath
    holes: tuple[Hole, ...]
    """Holes that exist if the alternative is chosen, without nested ones."""

    @property
    def scalar(self) -> Scalar:
        """Its name in constraints: a scalar without a label in the file is named by its value."""
        has_label = self.has_own_label or isinstance(self.data, dict | list)
        return self.label if has_label else self.data


@dataclass(frozen=True)
class Hole:
    """A parameter of the search: one position in the file where a value is chosen."""

    name: str
    path: JsonPath
    kind: Literal["choice", "int", "float"]
    alternatives: Mapping[str, Alternative]
    """Label → alternative; empty for a number."""
    low: float = 0
    high: float = 0
    is_log: bool = False

    @property
    def values(self) -> Sequence[Value] | None:
        """The possible choices; None for a ``$float``, which has too many."""
        match self.kind:
            case "choice":
                return tuple(self.alternatives)
            case "int":
                return range(int(self.low), int(self.high) + 1)
            case _:
                return (self.low,) if self.low == self.high else None

    def scalar(self, value: Value) -> Scalar:
        """Return the scalar that constraints compare for a chosen value."""
        return self.alternatives[str(value)].scalar if self.kind == "choice" else value

    @property
    def choices(self) -> object:
        """The range or labels. Holes with the same name must agree on them."""
        return (self.kind, tuple(self.alternatives), self.low, self.high, self.is_log)


@dataclass(frozen=True)
class Clause:
    """The condition of a constraint on one hole."""

    hole: str
    test: Literal["in", "not", "above", "below"]
    operand: tuple[Scalar, ...]

    def matches(self, scalars: Mapping[str, Scalar]) -> bool:
        """Return True if a configuration (hole → scalar) meets the condition."""
        if self.hole not in scalars:
            return False
        value = scalars[self.hole]
        if self.test in ("in", "not"):
            return any(_same(value, one) for one in self.operand) == (self.test == "in")
        (bound,) = self.operand
        if isinstance(bound, str):
            bound = scalars.get(bound)
        number, limit = _number(value), _number(bound)
        if number is None or limit is None:
            return False
        return number > limit if self.test == "above" else number < limit


@dataclass(frozen=True)
class SpaceSpec:
    """A search space as its file declares it."""

    name: str
    description: str
    source: dict[str, Any]
    """The complete file."""
    data: dict[str, Any]
    """The file with its holes, without its constraints."""
    holes: tuple[Hole, ...]
    """Holes that exist in every configuration, in file order."""
    forbidden: tuple[tuple[Clause, ...], ...]

    def all_holes(self) -> Iterator[Hole]:
        """Iterate over all holes, outer holes before the holes in their alternatives."""
        return _with_inner(self.holes)


def parse_space(data: Any, file: str | None = None) -> SpaceSpec:
    """Parse the search space in plain data.

    Raises
    ------
    SpecError
        Holes or constraints are invalid; ``errors`` name file and JSON path.
    """
    if not isinstance(data, dict):
        raise SpecError(f"must be an object, not {shown(data)}", file=file, path="$")
    for _ in walk(data, file):
        pass  # checks the depth, so that the code below may recurse
    template = {key: value for key, value in data.items() if key != FORBID}
    reader = _Reader(file)
    for key in ("version", "name", "description"):
        if is_hole(template.get(key)):
            reader.errors.append(reader.wrong("cannot be a hole", (key,)))
    name, description = template.get("name"), template.get("description", "")
    if not is_hole(name) and (not isinstance(name, str) or not name):
        reader.errors.append(reader.wrong("must be a string", ("name",)))
    holes = reader.holes(template, ())
    if not holes and not reader.errors:
        raise SpecError("has no holes, so there is nothing to search", file=file)
    if not reader.errors:  # a constraint may name a hole that cannot be read
        reader.check_names(holes)
        forbidden = reader.forbidden(data.get(FORBID, []), holes)
    if reader.errors:
        raise together(reader.errors)
    assert isinstance(name, str)
    return SpaceSpec(name, str(description), data, template, holes, forbidden)


@dataclass(frozen=True)
class _Reader:
    file: str | None
    errors: list[SpecError] = field(default_factory=list)

    def wrong(self, reason: str, path: JsonPath) -> SpecError:
        return SpecError(reason, file=self.file, path=json_path(path))

    def holes(self, value: Any, path: JsonPath) -> tuple[Hole, ...]:
        """Return the outermost holes in a value."""
        if is_hole(value):
            try:
                return (self.hole(value, path),)
            except SpecError as error:
                self.errors.append(error)
                return ()
        if isinstance(value, dict):
            return tuple(h for key, child in value.items() for h in self.holes(child, (*path, key)))
        if isinstance(value, list):
            return tuple(h for i, child in enumerate(value) for h in self.holes(child, (*path, i)))
        return ()

    def hole(self, value: dict[str, Any], path: JsonPath) -> Hole:
        key = next(key for key in HOLES if key in value)
        for other in value:
            if other != key and other not in _KEYS[key]:
                reason = f"unknown key {shown(other)} in a {key!r}"
                raise self.wrong(reason + suggestion(other, sorted(_KEYS[key])), (*path, other))
        default_name = json_path(step for step in path if step != "$choice")[2:]
        name = value.get("$name", default_name)
        if not isinstance(name, str) or not name:
            raise self.wrong(f"must be a string, not {shown(name)}", (*path, "$name"))
        inside = (*path, key)
        if key == "$choice":
            return Hole(name, path, "choice", self._alternatives(value[key], inside))
        kind: Literal["int", "float"] = "int" if key == "$int" else "float"
        low, high = self._range(value[key], inside, kind)
        is_log = value.get("$log", False)
        if not isinstance(is_log, bool):
            raise self.wrong(f"must be true or false, not {shown(is_log)}", (*path, "$log"))
        if is_log and low <= 0:
            raise self.wrong("a logarithmic range must begin above 0", inside)
        return Hole(name, path, kind, {}, low, high, is_log)

    def _alternatives(self, listed: Any, path: JsonPath) -> dict[str, Alternative]:
        if not isinstance(listed, list | dict) or not listed:
            reason = "must be a nonempty list or a nonempty object {label: alternative}"
            raise self.wrong(f"{reason}, not {shown(listed)}", path)
        found: dict[str, Alternative] = {}
        is_labelled = isinstance(listed, dict)
        members = listed.items() if isinstance(listed, dict) else enumerate(listed)
        for key, data in members:
            label, place = str(key) if is_labelled else _label(data, key), (*path, key)
            if label in found:
                raise self.wrong(f"the alternative {label} is repeated", place)
            found[label] = Alternative(label, is_labelled, data, place, self.holes(data, place))
        return found

    def _range(self, bounds: Any, path: JsonPath, kind: str) -> tuple[float, float]:
        numbers = int if kind == "int" else int | float
        is_pair = isinstance(bounds, list) and len(bounds) == 2
        if not is_pair or not all(isinstance(n, numbers) and type(n) is not bool for n in bounds):
            noun = "integers" if kind == "int" else "numbers"
            raise self.wrong(f"must be two {noun}, the lowest and the highest", path)
        low, high = bounds
        if low > high or not math.isfinite(high - low):
            raise self.wrong("the first number must not exceed the second", path)
        if kind == "int" and high - low > MAX_COUNT:
            raise self.wrong(f"has more than {MAX_COUNT} values", path)
        return low, high

    def check_names(self, holes: tuple[Hole, ...]) -> None:
        first: dict[str, Hole] = {}
        for hole in _with_inner(holes):
            known = first.setdefault(hole.name, hole)
            if hole.choices != known.choices:
                same_name = f"has the same name {shown(hole.name)} as {json_path(known.path)}"
                reason = f"{same_name}, but other alternatives; rename one of them"
                self.errors.append(self.wrong(reason, hole.path))

    def forbidden(self, listed: Any, holes: tuple[Hole, ...]) -> tuple[tuple[Clause, ...], ...]:
        if not isinstance(listed, list):
            raise self.wrong(f"must be a list, not {shown(listed)}", (FORBID,))
        known = {hole.name: hole for hole in _with_inner(holes)}
        found = []
        for number, conjunction in enumerate(listed):
            path: JsonPath = (FORBID, number)
            if not isinstance(conjunction, dict) or not conjunction:
                raise self.wrong("must be a nonempty object {hole: value}", path)
            clauses = []
            for name, value in conjunction.items():
                try:
                    clauses.append(self._clause(name, value, known, (*path, name)))
                except SpecError as error:
                    self.errors.append(error)
            found.append(tuple(clauses))
        return tuple(found)

    def _clause(self, name: str, value: Any, known: Mapping[str, Hole], path: JsonPath) -> Clause:
        if name not in known:
            raise self.wrong(f"no hole {shown(name)}{suggestion(name, known)}", path)
        test: Any = "in"
        if isinstance(value, dict):
            if len(value) != 1 or next(iter(value)) not in _TESTS:
                raise self.wrong("must have one of the keys 'not', 'above', 'below'", path)
            ((test, value),) = value.items()
        operand = value if isinstance(value, list) else [value]
        if test in ("above", "below"):
            ok = len(operand) == 1 and (_is_number(operand[0]) or _names(operand[0], known))
            if not ok:
                raise self.wrong("must be a number or the name of a hole", (*path, test))
        else:
            self._check_scalars(known[name], operand, path)
        return Clause(name, test, tuple(operand))

    def _check_scalars(self, hole: Hole, operand: Sequence[Any], path: JsonPath) -> None:
        """Reject values that no alternative has: they exclude nothing, so they are mistakes."""
        if hole.kind != "choice":
            if not all(_is_number(one) for one in operand):
                raise self.wrong("must be a number", path)
            return
        scalars = [alternative.scalar for alternative in hole.alternatives.values()]
        for one in operand:
            if not any(_same(one, other) for other in scalars):
                hint = suggestion(one, map(json.dumps, scalars))
                raise self.wrong(f"no alternative {shown(one)}{hint}", path)


def _with_inner(holes: Sequence[Hole]) -> Iterator[Hole]:
    for hole in holes:
        yield hole
        for alternative in hole.alternatives.values():
            yield from _with_inner(alternative.holes)


def _label(data: Any, index: int) -> str:
    if isinstance(data, dict) and not is_hole(data) and isinstance(data.get("type"), str):
        return f"{index}:{data['type']}"
    return f"{index}" if isinstance(data, dict | list) else json.dumps(data, ensure_ascii=False)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> float | None:
    """Return a number, or the number that a label spells; None for any other value."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and _is_number(value) else None


def _names(value: object, known: Mapping[str, object]) -> bool:
    return isinstance(value, str) and value in known


def _same(one: Scalar, other: Scalar) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)
