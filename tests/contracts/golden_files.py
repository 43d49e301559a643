"""Golden files: values that users depend on, stored as text and compared exactly.

A test calls ``check`` with the name of a file in ``golden/`` and the value that it found. When the
environment variable ``ARCHON_UPDATE_GOLDEN`` is set, ``check`` writes the file instead; use
``update_golden.py``, which sets it.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
STORED_RUNS = HERE / "stored_runs"
UPDATE = "ARCHON_UPDATE_GOLDEN"

TIMES = frozenset(
    {
        "seconds", "start_seconds", "wall_seconds", "sitting_seconds", "tokens_per_second",
        "start_time", "end_time", "created",
    }
)  # fmt: skip
"""Keys whose values differ from run to run."""
MASKED = "<masked>"
_MOST_LINES = 60


def check(name: str, found: object) -> None:
    """Compare a value with the golden file of that name: a text as it is, other values as JSON.

    Raises
    ------
    AssertionError : they differ, or the file does not exist.
    """
    text = found if isinstance(found, str) else as_json(found)
    text = text.rstrip("\n") + "\n"
    path = GOLDEN / name
    if os.environ.get(UPDATE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    assert path.is_file(), f"no golden file {name}; see update_golden.py"
    expected = path.read_text(encoding="utf-8")
    if text == expected:
        return
    lines = list(
        difflib.unified_diff(
            expected.splitlines(), text.splitlines(), f"golden/{name}", "found", lineterm="", n=2
        )
    )
    difference = "\n".join(line[:400] for line in lines[:_MOST_LINES])
    raise AssertionError(f"{name} has changed ({len(lines)} lines of difference):\n{difference}")


def check_close(name: str, found: dict[str, list[list[float]]]) -> None:
    """Compare lists of log-probabilities with a golden file, to 1e-5.

    Raises
    ------
    AssertionError : they differ, or the file does not exist.
    """
    path = GOLDEN / name
    if os.environ.get(UPDATE):
        rounded = {k: [[float(f"{x:.8g}") for x in row] for row in v] for k, v in found.items()}
        check(name, rounded)
        return
    assert path.is_file(), f"no golden file {name}; see update_golden.py"
    expected = json.loads(path.read_text(encoding="utf-8"))
    assert found.keys() == expected.keys()
    for key, rows in expected.items():
        assert [len(row) for row in found[key]] == [len(row) for row in rows], key
        for number, (one, other) in enumerate(zip(found[key], rows, strict=True)):
            assert one == pytest.approx(other, rel=1e-5, abs=1e-5), f"{name}: {key}, {number}"


def as_json(value: object, width: int = 200) -> str:
    """JSON with sorted keys, where whatever fits on one line stands on one line."""
    return _written(value, 0, width)


def _written(value: object, indent: int, width: int) -> str:
    flat = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    if len(flat) + indent <= width or not isinstance(value, dict | list | tuple) or not value:
        return flat
    inner = "\n" + " " * (indent + 1)
    if isinstance(value, dict):
        pairs = sorted(value.items())
        rows = [f"{json.dumps(k, ensure_ascii=False)}:{_written(v, indent + 1, width)}"
                for k, v in pairs]  # fmt: skip
        return "{" + inner + f",{inner}".join(rows) + "\n" + " " * indent + "}"
    rows = [_written(one, indent + 1, width) for one in value]
    return "[" + inner + f",{inner}".join(rows) + "\n" + " " * indent + "]"


def masked(value: Any, keys: frozenset[str] = TIMES, **texts: str) -> Any:
    """A JSON value with times and other changing values masked.

    Parameters
    ----------
    keys : keys whose values are masked, at any depth.
    texts : name to a text that is replaced by ``<name>`` wherever it occurs, such as a path.
    """
    if isinstance(value, dict):
        return {
            key: MASKED if key in keys and one is not None else masked(one, keys, **texts)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(one, keys, **texts) for one in value]
    if isinstance(value, str):
        for name, text in texts.items():
            value = value.replace(text, f"<{name}>")
        return re.sub(r"\b\d+\.\d+ (?=tokens/s|s\b)", "<number> ", value)
    return value


def shape(value: Any) -> Any:
    """The keys of a JSON value recursively, with the types of the values; lists are merged."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        kinds = {as_json(kind): kind for kind in map(shape, value)}
        return [kinds[text] for text in sorted(kinds)]
    return "null" if value is None else type(value).__name__
