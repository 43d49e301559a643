"""Paths, values and suggestions in messages are short and printable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.spec.messages import json_path, shown, suggestion


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ([], "$"),
        (["nodes", "best", "inputs", 0], "$.nodes.best.inputs[0]"),
        (["nodes", "rank-fuse"], "$.nodes.rank-fuse"),
        (["nodes", "a.b"], '$.nodes["a.b"]'),
        (["models", ""], '$.models[""]'),
        (["models", 'a"b\n'], '$.models["a\\"b\\n"]'),
        ([4, None], "$[4].None"),
    ],
)
def test_json_path_quotes_unusual_keys(parts: list[object], path: str) -> None:
    assert json_path(parts) == path


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0.5, "0.5"),
        ("a\x1b[1m", r"'a\x1b[1m'"),
        (10**50, "an integer with dozens of digits"),
        ({"a": 1}, "an object with 1 key"),
        ([1, 2], "a list of 2"),
        ((1,), "a Python tuple"),
    ],
)
def test_shown_describes_a_value_in_terms_of_json(value: object, text: str) -> None:
    assert shown(value) == text


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists))
def test_shown_is_short_and_printable(value: object) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text) < 1000


def test_shown_describes_an_integer_that_python_does_not_print() -> None:
    assert shown(10**5000) == "an integer with dozens of digits"


def test_suggestion_names_the_nearest_name() -> None:
    assert suggestion("sampels", ["samples", "model"]) == "; did you mean 'samples'?"


def test_suggestion_lists_the_names_if_none_is_near() -> None:
    assert suggestion("zzz", ["a"]) == "; there is 'a'"
    assert suggestion("zzz", ["a", "b"]) == "; there are 'a', 'b'"
    assert suggestion("zzz", []) == "; there are none"


def test_suggestion_stays_short() -> None:
    assert suggestion("zzz", [f"n{i}" for i in range(1000)]).endswith("'n11' and 988 more")
    assert len(suggestion("z" * 10**6, ["a"])) < 100
