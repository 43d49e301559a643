"""``docs/models.md`` is what its script makes of the families in the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from archon.engine.model.families import FAMILIES

ROOT = Path(__file__).parents[2]


def test_the_page_of_families_is_current() -> None:
    spec = importlib.util.spec_from_file_location("families", ROOT / "scripts" / "families.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert page == script.page(), "run scripts/families.py"
    assert all(f"| `{name}` |" in page for name in FAMILIES)
