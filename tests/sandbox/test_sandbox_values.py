"""Values returned by the sandbox."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from archon.sandbox import Sandbox
from archon.sandbox.values import UnfitValueError, as_json, is_plain


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (None, None),
        (True, True),
        (-0.5, -0.5),
        (2**80, 2**80),
        ("\x00\n", "\x00\n"),
        ((1, [2.0, (3,)]), [1, [2.0, [3]]]),
        ({3, 10, 2, "b", "a"}, [2, 3, 10, "a", "b"]),
        (frozenset([(2, 1)]), [[2, 1]]),
        ({1: 2, "a": {None: 3.0}, (1, 2): 4}, {"1": 2, "a": {"None": 3.0}, "<tuple>": 4}),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Decimal("1.50"), "1.50"),
        (1j, "1j"),
        (b"x", "b'x'"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.timedelta(days=1), "1 day, 0:00:00"),
        (object(), "<object>"),
        (ValueError("x"), "<ValueError>"),
    ],
)
def test_values_become_json(value: object, json: object) -> None:
    assert as_json(value, 1000) == json
    assert type(as_json(value, 1000)) is type(json)


def doubled(times: int) -> list[object]:
    """A list that is small in memory and has two to the power of ``times`` parts when printed."""
    value: list[object] = [0]
    for _ in range(times):
        value = [value, value]
    return value


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("x" * 1000, "1,000 bytes"),
        (["x"] * 1000, "1,000 bytes"),
        ({str(i): None for i in range(1000)}, "1,000 bytes"),
        (doubled(60), "1,000 bytes"),
        (nested(200), "100 levels"),
        (10**5000, "4300 digits"),
        ({10**5000: 1}, "4300 digits"),
    ],
    ids=["text", "list", "dict", "one list many times", "deep", "integer", "key"],
)
def test_values_that_do_not_fit_are_refused(value: object, reason: str) -> None:
    with pytest.raises(UnfitValueError, match=reason):
        as_json(value, 1000)


class Agreeable(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_plain_values_are_of_exactly_the_plain_types() -> None:
    assert is_plain([1, (2.0, {"a": None}), {True}, b"x", Decimal(1), doubled(60)])
    assert not is_plain([1, (2.0, {"a": Agreeable(3)})])
    assert not is_plain({(1, Ellipsis): 1})
    assert not is_plain(int)
    assert not is_plain(print)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("x = []\nx.append(x)\nx", ["[...]"]),
        ("x = {}\nx['x'] = x\nx", {"x": "{...}"}),
        ("class A:\n    def __repr__(self):\n        return 'forged'\nA()", "<A>"),
        ("float('inf')", "inf"),
        ("'\\ud800'", "\ufffd"),
        ("print", "<print>"),
        ("10 ** 4000", 10**4000),
    ],
)
async def test_strange_values_are_returned_harmless(
    sandbox: Sandbox, code: str, value: object
) -> None:
    outcome = await sandbox.run(code)
    assert (outcome.kind, outcome.value) == ("ok", value)
