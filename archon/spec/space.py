"""Search spaces: architecture files in which parameters replace some of the values.

::

    {"$choice": [1, 4, 8]}                  one value of a list
    {"$choice": {"cheap": 1, "dear": 8}}    one of several alternatives with labels
    {"$int": [1, 16], "$log": true}         an integer from 1 to 16, on a logarithmic scale
    {"$float": [0.2, 1.2]}                  a number from 0.2 to 1.2

A parameter may replace any value. An alternative may be any JSON value and may contain further
parameters, which exist only if the alternative is chosen. Parameters with the same ``$name`` always
have the same value, so they must have the same range or the same labels. By default a parameter's
name is its path.

``$forbid``, next to ``nodes``, excludes configurations. It is a list of objects such as
``{"samples": 8, "temperature": {"above": 1}}``, and each object excludes the configurations that
match all its entries:

- The key is the name of a parameter. If the parameter does not exist in a configuration, the entry
  does not match.
- The value is a label or number, a list of them, or ``{"not": …}`` with either.
- It may also be ``{"above": …}`` or ``{"below": …}`` with a number or the name of another
  parameter. Labels that are numbers are compared as numbers.
- An alternative without a label is identified by its value, such as ``null`` or ``8``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from archon.errors import SpecError, together
from archon.spec.common import MAX_COUNT
from archon.spec.messages import json_path, shown, suggestion
from archon.spec.strict_json import JsonPath, walk

PARAMETER_KEYS = ("$choice", "$int", "$float")
"""Keys that make an object a parameter."""
FORBID = "$forbid"
_KEYS = {"$choice": {"$name"}, "$int": {"$name", "$log"}, "$float": {"$name", "$log"}}
_TESTS = ("not", "above", "below")

Value = str | int | float
"""The value of a parameter: the label of an alternative, or a number."""
Scalar = str | int | float | bool | None
"""A value in the format that ``$forbid`` uses to name and compare it."""


def is_parameter(value: object) -> bool:
    """Return True if a value in a file is a parameter."""
    return isinstance(value, dict) and any(key in value for key in PARAMETER_KEYS)


@dataclass(frozen=True)
class Alternative:
    """One alternative of a ``$choice``."""

    label: str
    is_labelled: bool
    """Whether the label is in the file. Otherwise, it was generated."""
    data: Any
    """The JSON value of the alternative, which may contain further parameters."""
    path: JsonPath
    parameters: tuple[Parameter, ...]
    """The outermost parameters in ``data``, which exist if the alternative is chosen."""

    @property
    def scalar(self) -> Scalar:
        """The alternative's name in ``$forbid``: its label, or its value if it has no label."""
        has_label = self.is_labelled or isinstance(self.data, dict | list)
        return self.label if has_label else self.data


@dataclass(frozen=True)
class Parameter:
    """A search parameter: a position in the file where the search chooses a value."""

    name: str
    path: JsonPath
    kind: Literal["choice", "int", "float"]
    alternatives: Mapping[str, Alternative]
    """Label → alternative of a ``$choice``; empty for an ``$int`` or ``$float``."""
    low: float = 0
    high: float = 0
    is_log: bool = False

    @property
    def values(self) -> Sequence[Value] | None:
        """All possible values: labels or integers. None for a ``$float`` with several values."""
        match self.kind:
            case "choice":
                return tuple(self.alternatives)
            case "int":
                return range(int(self.low), int(self.high) + 1)
            case _:
                return (self.low,) if self.low == self.high else None

    def scalar(self, value: Value) -> Scalar:
        """Return a chosen value in the format that ``$forbid`` compares."""
        return self.alternatives[str(value)].scalar if self.kind == "choice" else value

    @property
    def choices(self) -> object:
        """The type, range and labels, which must be equal for parameters with the same name."""
        return (self.kind, tuple(self.alternatives), self.low, self.high, self.is_log)


@dataclass(frozen=True)
class Clause:
    """One entry of an object in ``$forbid``: a condition on one parameter."""

    parameter: str
    test: Literal["in", "not", "above", "below"]
    operand: tuple[Scalar, ...]

    def matches(self, scalars: Mapping[str, Scalar]) -> bool:
        """Return True if a configuration meets the condition.

        Parameters
        ----------
        scalars
            Name of each parameter in the configuration → its value, as ``Parameter.scalar``.
        """
        if self.parameter not in scalars:
            return False
        value = scalars[self.parameter]
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
    """A parsed search space."""

    name: str
    description: str
    source: dict[str, Any]
    """The complete data of the file."""
    data: dict[str, Any]
    """The data without ``$forbid``: an architecture with parameters."""
    parameters: tuple[Parameter, ...]
    """Parameters that exist in every configuration, in file order."""
    forbidden: tuple[tuple[Clause, ...], ...]
    """The objects of ``$forbid``, each as its conditions."""

    def all_parameters(self) -> Iterator[Parameter]:
        """Yield all parameters, each one before the parameters in its alternatives."""
        return _with_inner(self.parameters)


def parse_space(data: Any, file: str | None = None) -> SpaceSpec:
    """Parse the data of a search space.

    Raises
    ------
    SpecError
        A parameter or ``$forbid`` is invalid. The ``errors`` attribute lists all errors.
    """
    if not isinstance(data, dict):
        raise SpecError(f"must be an object, not {shown(data)}", file=file, path="$")
    for _ in walk(data, file):
        pass  # checks the depth, so that the code below may recurse
    template = {key: value for key, value in data.items() if key != FORBID}
    reader = _Reader(file)
    for key in ("version", "name", "description"):
        if is_parameter(template.get(key)):
            reader.errors.append(reader.wrong("cannot be a parameter", (key,)))
    name, description = template.get("name"), template.get("description", "")
    if not is_parameter(name) and (not isinstance(name, str) or not name):
        reader.errors.append(reader.wrong("must be a string", ("name",)))
    parameters = reader.parameters(template, ())
    if not parameters and not reader.errors:
        raise SpecError("has no parameters, so there is nothing to search", file=file)
    if not reader.errors:  # otherwise ``$forbid`` may name a parameter that cannot be read
        reader.check_names(parameters)
        forbidden = reader.forbidden(data.get(FORBID, []), parameters)
    if reader.errors:
        raise together(reader.errors)
    assert isinstance(name, str)
    return SpaceSpec(name, str(description), data, template, parameters, forbidden)


@dataclass(frozen=True)
class _Reader:
    file: str | None
    errors: list[SpecError] = field(default_factory=list)

    def wrong(self, reason: str, path: JsonPath) -> SpecError:
        return SpecError(reason, file=self.file, path=json_path(path))

    def parameters(self, value: Any, path: JsonPath) -> tuple[Parameter, ...]:
        """Return the outermost parameters in a value, without parameters nested in them."""
        if is_parameter(value):
            try:
                return (self.parameter(value, path),)
            except SpecError as error:
                self.errors.append(error)
                return ()
        if isinstance(value, dict):
            members: Iterable[tuple[str | int, Any]] = value.items()
        elif isinstance(value, list):
            members = enumerate(value)
        else:
            return ()
        return tuple(p for key, child in members for p in self.parameters(child, (*path, key)))

    def parameter(self, value: dict[str, Any], path: JsonPath) -> Parameter:
        key = next(key for key in PARAMETER_KEYS if key in value)
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
            return Parameter(name, path, "choice", self._alternatives(value[key], inside))
        kind: Literal["int", "float"] = "int" if key == "$int" else "float"
        low, high = self._range(value[key], inside, kind)
        is_log = value.get("$log", False)
        if not isinstance(is_log, bool):
            raise self.wrong(f"must be true or false, not {shown(is_log)}", (*path, "$log"))
        if is_log and low <= 0:
            raise self.wrong("a logarithmic range must begin above 0", inside)
        return Parameter(name, path, kind, {}, low, high, is_log)

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
            inner = self.parameters(data, place)
            found[label] = Alternative(label, is_labelled, data, place, inner)
        return found

    def _range(self, bounds: Any, path: JsonPath, kind: str) -> tuple[float, float]:
        numbers = int if kind == "int" else int | float
        is_pair = isinstance(bounds, list) and len(bounds) == 2
        if not is_pair or not all(isinstance(n, numbers) and type(n) is not bool for n in bounds):
            noun = "integers" if kind == "int" else "numbers"
            raise self.wrong(f"must be a list of two {noun}, the lowest and the highest", path)
        low, high = bounds
        if low > high or not math.isfinite(high - low):
            raise self.wrong("the first number must not exceed the second", path)
        if kind == "int" and high - low > MAX_COUNT:
            raise self.wrong(f"has more than {MAX_COUNT} values", path)
        return low, high

    def check_names(self, parameters: tuple[Parameter, ...]) -> None:
        first: dict[str, Parameter] = {}
        for parameter in _with_inner(parameters):
            known = first.setdefault(parameter.name, parameter)
            if parameter.choices != known.choices:
                same_name = f"has the same name {shown(parameter.name)} as {json_path(known.path)}"
                reason = f"{same_name}, but a different range or labels; rename one of them"
                self.errors.append(self.wrong(reason, parameter.path))

    def forbidden(
        self, listed: Any, parameters: tuple[Parameter, ...]
    ) -> tuple[tuple[Clause, ...], ...]:
        if not isinstance(listed, list):
            raise self.wrong(f"must be a list, not {shown(listed)}", (FORBID,))
        known = {parameter.name: parameter for parameter in _with_inner(parameters)}
        found = []
        for number, conjunction in enumerate(listed):
            path: JsonPath = (FORBID, number)
            if not isinstance(conjunction, dict) or not conjunction:
                raise self.wrong("must be a nonempty object {parameter: value}", path)
            clauses = []
            for name, value in conjunction.items():
                try:
                    clauses.append(self._clause(name, value, known, (*path, name)))
                except SpecError as error:
                    self.errors.append(error)
            found.append(tuple(clauses))
        return tuple(found)

    def _clause(
        self, name: str, value: Any, known: Mapping[str, Parameter], path: JsonPath
    ) -> Clause:
        if name not in known:
            raise self.wrong(f"no parameter {shown(name)}{suggestion(name, known)}", path)
        test: Any = "in"
        if isinstance(value, dict):
            if len(value) != 1 or next(iter(value)) not in _TESTS:
                raise self.wrong("must have one of the keys 'not', 'above', 'below'", path)
            ((test, value),) = value.items()
        operand = value if isinstance(value, list) else [value]
        if test in ("above", "below"):
            ok = len(operand) == 1 and (_is_number(operand[0]) or _names(operand[0], known))
            if not ok:
                raise self.wrong("must be a number or the name of a parameter", (*path, test))
        else:
            self._check_scalars(known[name], operand, path)
        return Clause(name, test, tuple(operand))

    def _check_scalars(self, parameter: Parameter, operand: Sequence[Any], path: JsonPath) -> None:
        """Reject values that the parameter cannot have, because they would have no effect."""
        if parameter.kind != "choice":
            if not all(_is_number(one) for one in operand):
                raise self.wrong("must be a number", path)
            return
        scalars = [alternative.scalar for alternative in parameter.alternatives.values()]
        for one in operand:
            if not any(_same(one, other) for other in scalars):
                hint = suggestion(one, map(json.dumps, scalars))
                raise self.wrong(f"no alternative {shown(one)}{hint}", path)


def _with_inner(parameters: Sequence[Parameter]) -> Iterator[Parameter]:
    for parameter in parameters:
        yield parameter
        for alternative in parameter.alternatives.values():
            yield from _with_inner(alternative.parameters)


def _label(data: Any, index: int) -> str:
    if isinstance(data, dict) and not is_parameter(data) and isinstance(data.get("type"), str):
        return f"{index}:{data['type']}"
    return f"{index}" if isinstance(data, dict | list) else json.dumps(data, ensure_ascii=False)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> float | None:
    """Return the value of a number or of a label such as ``8``, or None for any other value."""
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
