"""A language model run by Archon's own engine: text at one end, token ids at the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from archon.errors import require

if TYPE_CHECKING:
    from archon.lm.local.lm import LocalLM
    from archon.spec.model import LocalCard


def open_local(card: LocalCard, base_dir: Path | None = None) -> LocalLM:
    """Fetch a card's weights where they are not here yet, and load them.

    Raises
    ------
    ModelError : the weights cannot be had or run.
    MissingExtraError : torch, or another part of the engine, is not installed.
    """
    for package in ("torch", "tokenizers", "safetensors", "jinja2"):
        require(package, "engine")
    from archon.lm.local.lm import load

    return load(card, base_dir or Path())
