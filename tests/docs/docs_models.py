"""The scripted model in place of every local decoder of the catalogue."""

from __future__ import annotations

import json
import os
from pathlib import Path

from archon.spec import catalog


def use_scripted_model() -> None:
    """Let the names of local decoders mean the scripted model in this process."""
    find = catalog.find

    def find_scripted(kind: catalog.Kind, name_or_path: str | os.PathLike[str]) -> Path:
        path = find(kind, name_or_path)
        if kind == "model" and not catalog.is_path(name_or_path) and _is_decoder(path):
            return find(kind, "scripted")
        return path

    catalog.find = find_scripted


def _is_decoder(path: Path) -> bool:
    card: dict[str, str] = json.loads(path.read_text())
    return card["backend"] == "local" and card.get("transformer", "decoder") == "decoder"
