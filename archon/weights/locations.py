"""The folders of Archon's cache."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Return Archon's folder for files that can be fetched or computed again."""
    chosen = os.environ.get("ARCHON_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("archon")


def model_dir(name: str) -> Path:
    """Return the folder of a card's weights; a name unsuitable for files gets a digest appended."""
    return cache_dir() / "models" / safe_folder(name)


def safe_folder(name: str) -> str:
    """Return a name for a file or folder, with a digest if characters had to be replaced."""
    folder = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    if folder != name or folder.startswith(".") or len(folder) > 100:
        folder = f"{folder[:80].lstrip('.')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return folder
