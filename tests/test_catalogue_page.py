"""The command that writes the tables of ``docs/results/architectures.md``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "catalogue.py"


@pytest.fixture(scope="module")
def catalogue() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogue", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(name: str, accuracy: float) -> dict[str, Any]:
    return {
        "name": name,
        "accuracy": accuracy,
        "accuracy_interval": [accuracy - 0.1, accuracy + 0.1],
        "cost_tokens": 1234.4,
    }


def test_rows_are_sorted_by_accuracy_with_the_comparison_at_equal_cost(
    catalogue: ModuleType,
) -> None:
    held = {"drafts": 5, "is_enough": False, "difference": -0.02, "interval": [-0.1, 0.06]}
    compared = {
        "rows": [row("vote", 0.5), row("best", 0.6)],
        "equal_cost": [{"name": "best", "p_value": 0.125, **held}],
    }
    lines = catalogue.table(compared, {"best": 2.25}).splitlines()[2:]
    assert lines == [
        "| `best` | 60.0% [50.0, 70.0] | 1,234 | 2.2 | −2.0 [−10.0, +6.0], p = 0.12"
        " (all 5 samples) |",
        "| `vote` | 50.0% [40.0, 60.0] | 1,234 |  |  |",
    ]


def test_only_the_named_table_is_replaced(catalogue: ModuleType) -> None:
    page = "a\n<!-- table: x -->\nold\n<!-- end of table -->\nb\n<!-- table: y -->\n"
    page += "<!-- end of table -->\n"
    changed = catalogue.with_table(page, "x", "new")
    assert changed == page.replace("old\n", "new\n")
    with pytest.raises(ValueError, match="no marks of the table 'z'"):
        catalogue.with_table(page, "z", "new")
