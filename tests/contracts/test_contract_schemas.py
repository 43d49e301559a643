"""The JSON Schemas of the files that users write, as ``archon schema`` prints them."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any

import pytest
from golden_files import check

from archon.cli import main

KINDS = ("model", "benchmark", "training", "architecture", "space")


def schema_of(kind: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["schema", kind]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def lines_of(schema: dict[str, Any], before: dict[str, dict[str, Any]]) -> list[str]:
    """A property per line, with the order of its keys: differences stay readable.

    What is repeated is named instead. Definitions that an earlier kind has are named as well, or
    given by their digest where they differ, as in spaces, whose every value may be a hole.
    """
    lines: list[str] = []
    written: dict[tuple[str, str], str] = {}
    for name, value in {"(whole)": schema, **schema.get("$defs", {})}.items():
        earlier = {kind: other for kind, other in before.items() if name in other.get("$defs", {})}
        same = [kind for kind, other in earlier.items() if compact(other["$defs"][name])
                == compact(value)]  # fmt: skip
        if same:
            lines.append(f"{name}: as in {same[0]}")
        elif earlier:
            digest = sha256(compact(value).encode()).hexdigest()[:32]
            lines.append(f"{name}: sha256 {digest}, unlike {', '.join(earlier)}")
        else:
            rest = {key: one for key, one in value.items() if key not in ("$defs", "properties")}
            lines.append(f"{name}: {compact(rest)}")
            for key, one in value.get("properties", {}).items():
                place = written.setdefault((key, compact(one)), name)
                lines.append(f" {key}: {compact(one) if place == name else f'as in {place}'}")
    return lines


def compact(value: object) -> str:
    """Without the titles that pydantic makes of names: they say nothing and are many."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return re.sub(r'"title":"[^"]*",?', "", text)


@pytest.mark.parametrize("kind", KINDS)
def test_schema_of_a_kind(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {one: schema_of(one, capsys) for one in KINDS[: KINDS.index(kind)]}
    check(f"schemas/{kind}.txt", "\n".join(lines_of(schema_of(kind, capsys), before)))


def test_there_are_no_other_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "nothing"]) == 2
    named = capsys.readouterr().err
    listed = named.split("one of")[1].splitlines()[0].split()
    assert sorted(KINDS) == sorted(word.strip("'.,") for word in listed)
