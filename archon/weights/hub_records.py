"""Records of the first download of each model of the hub.

A card need not state the digest of a model on the hub. Archon then records it at the first download
on this machine, with the commit of the revision and the name of the file, and compares it from then
on: a branch can move, and a file can be replaced::

    <cache>/hub/<repository>-<digest>.json   a record for each repository, revision and file
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from archon.spec.model import HubSource
from archon.spec.model_strings import hub_name
from archon.weights.json_records import read_json_record, write_json_record
from archon.weights.locations import cache_dir, safe_folder


@dataclass(frozen=True, slots=True)
class HubRecord:
    """The first download of a model on the hub."""

    repository: str
    wanted: str | None
    """File or quantization of the source; None for its default."""
    revision: str
    commit: str
    """Commit of the revision at that time."""
    file: str | None
    """The GGUF file; None for a model folder."""
    sha256: str
    bytes: int
    path: str
    license: str = ""
    date: str = ""
    """Day of the download, in UTC."""

    @property
    def name(self) -> str:
        """The model string, without ``hf:``."""
        revision = None if self.revision == "main" else self.revision
        return hub_name(self.repository, self.wanted, revision)


def today() -> str:
    """Return the current day in UTC."""
    return datetime.now(UTC).date().isoformat()


def recorded(source: HubSource) -> HubRecord | None:
    """Return the record of a source; None if there is no readable one."""
    return read_json_record(_path(source), HubRecord)


def all_recorded() -> list[HubRecord]:
    """Return all records, sorted by name."""
    found = [read_json_record(path, HubRecord) for path in (cache_dir() / "hub").glob("*.json")]
    return sorted((record for record in found if record is not None), key=lambda each: each.name)


def write_hub_record(source: HubSource, record: HubRecord | None) -> None:
    """Write the record of a source, or delete it if it is None."""
    write_json_record(_path(source), record)


def expected_digest(source: HubSource) -> str | None:
    """Return the digest that the source's files must have; None before the first download."""
    if source.sha256 is not None:
        return source.sha256
    record = recorded(source)
    return None if record is None else record.sha256


def _path(source: HubSource) -> Path:
    key = f"{source.huggingface}@{source.revision}:{source.file or ''}"
    return cache_dir() / "hub" / f"{safe_folder(key)}.json"
