"""The table of notations in the documentation matches the reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from archon.answers import read_answer

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "evaluation.md"
_ROW = re.compile(r"^\| (?P<written>`.*`) \| (?P<value>[^|]*) \|[^|]*\|$", re.MULTILINE)


def documented() -> Iterator[tuple[str, str | None]]:
    section = PAGE.read_text(encoding="utf-8").partition("## Number formats")[2]
    for row in _ROW.finditer(section.partition("\n## ")[0]):
        notations = re.findall(r"`([^`]*)`", row["written"])
        values = row["value"].split(", ")
        if len(values) == 1:
            values *= len(notations)
        for notation, value in zip(notations, values, strict=True):
            yield notation, None if value == "–" else value


@pytest.mark.parametrize(("written", "value"), list(documented()))
@pytest.mark.parametrize("frame", ["The answer is {}.", "Answer: {}", "\\boxed{{{}}}", "#### {}"])
def test_a_documented_notation_is_read_as_the_table_says(
    frame: str, written: str, value: str | None
) -> None:
    assert read_answer(frame.format(written), "number") == value


def test_the_table_is_found() -> None:
    assert len(list(documented())) > 100
