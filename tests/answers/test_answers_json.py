"""JSON values as answers."""

from __future__ import annotations

import pytest

from archon.answers import read_answer, read_target

READ = {
    '{"b": 1.0, "a": "x"}': '{"a":"x","b":1}',
    '```json\n{"a": 1e2}\n```': '{"a":100}',
    '```\n{"a": 1}\n```\nor rather\n```json\n{"a": 2}\n```\nas said.': '{"a":2}',
    '```json\n{"a": 1}\n```\n```python\nprint(1)\n```': '{"a":1}',
    'It is {"a": [1, {"b": null}]} here.': '{"a":[1,{"b":null}]}',
    'First {"a": 1}, then [true, false].': "[true,false]",
    "[1, 2": None,
    "See {this}: none.": None,
    '{this} is {"a": "}"}.': '{"a":"}"}',
    "-0.50": "-0.5",
    "true": "true",
    '"Rome"': '"Rome"',
    '{"a": NaN}': None,
    "Rome": None,
    "": None,
    '{"a": "\\ud800"}': '{"a":"\\ud800"}',
    "[" * 5000: None,
    f"[1{'0' * 5000}]": f"[1{'0' * 5000}]",
}


@pytest.mark.parametrize("text", READ, ids=range(len(READ)))
def test_the_last_json_value_is_read(text: str) -> None:
    assert read_answer(text, "json") == READ[text]


def test_a_target_is_json_as_a_whole() -> None:
    assert read_target(' {"b": 2, "a": 1}\n', "json") == '{"a":1,"b":2}'
    assert read_target('The answer is {"a": 1}.', "json") is None
