"""Tests of a question on their way through a graph: read from a reply, joined where edges meet."""

from __future__ import annotations

import re
from collections.abc import Iterable

from archon.types import UnitTest, UnitTestMethod

_ITEM = r"(?:[-*•]|\[?\d{1,5}[.):\]]+)[ \t]++"
_STATEMENT = re.compile(rf"^[ \t]*+{_ITEM}([^\n]*+)$", re.MULTILINE)
_ASSERTION = re.compile(rf"^[ \t]*+(?:{_ITEM})?`?(assert\b[^\n]*+)$", re.MULTILINE)


def read_tests(text: str, method: UnitTestMethod, max_tests: int) -> list[str]:
    """The first ``max_tests`` tests that a reply lists, each once; none where it lists none.

    Statements are the items of a list, numbered or with bullets. Assertions are the lines that
    begin with ``assert``, as items of a list or within a block of code.

    >>> read_tests("Tests:\\n1. It is even.\\n2. It is even.\\n- It is **large**.", "reason", 5)
    ['It is even.', 'It is **large**.']
    >>> read_tests("1. `assert f(2) == 4`\\nassert f(0) == 0", "program", 5)
    ['assert f(2) == 4', 'assert f(0) == 0']
    """
    pattern = _ASSERTION if method == "program" else _STATEMENT
    found = (match.group(1).strip(" \t\r`") for match in pattern.finditer(text))
    return list(dict.fromkeys(filter(None, found)))[:max_tests]


def join_tests(groups: Iterable[Iterable[UnitTest]]) -> tuple[UnitTest, ...]:
    """The union of the groups, in the order in which tests first appear.

    Tests that say the same are one, whoever wrote them.
    """
    joined: dict[tuple[UnitTestMethod, str], UnitTest] = {}
    for group in groups:
        for test in group:
            joined.setdefault((test.method, test.text), test)
    return tuple(joined.values())
