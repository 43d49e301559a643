"""Records on disk: the fields of a dataclass in a JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from archon.storage.atomic import replacing

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record")


def read_json_record(path: Path, kind: Callable[..., Record]) -> Record | None:
    """Read a record of a dataclass; return None if the file is missing or damaged."""
    try:
        return kind(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_json_record(path: Path, record: DataclassInstance | None) -> None:
    """Write a record atomically; if it is None, delete the file."""
    if record is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, concurrent=True) as part:
        part.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
