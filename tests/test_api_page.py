"""docs/api.md lists the public API."""

import re
from pathlib import Path

import archon

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "python.md"


def test_the_page_lists_the_public_names() -> None:
    named = re.findall(r"^::: archon\.(\w+)$", PAGE.read_text(), re.M)
    assert sorted(named) == sorted(archon.__all__)
