"""The cache folder of pulled weights, with records of verified models.

::

    <cache>/models/<card>/<file>          weights extracted from wheels
    <cache>/models/<card>/verified.json   path and digest of the verified weights
    <cache>/models/<card>/wheels/         wheels of an unfinished pull
    <cache>/hub/                          digests of the hub's models (``hub_records``)
    <cache>/packed/<digest>-<precision>…  weights packed for the engine's kernels
    <cache>/kernels/                      compiled kernels
    <cache>/draws.sqlite3                 the pool of samples (``archon.lm.pool``)

The folder is ``ARCHON_CACHE``, by default Archon's folder in the user's cache. Files from the hub
are kept in the hub's own cache, and the user's files are not moved; the record contains their path.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from archon.errors import ModelError, os_reason
from archon.spec.model import HubSource, LocalCard, PathSource, PypiSource
from archon.weights.hub_records import expected_digest, recorded, write_hub_record
from archon.weights.json_records import read_json_record, write_json_record
from archon.weights.locations import cache_dir as cache_dir
from archon.weights.locations import model_dir as model_dir
from archon.weights.model_files import CONFIG_NAME, files_of

RECORD_NAME = "verified.json"


@dataclass(frozen=True, slots=True)
class VerifiedModel:
    """Record of a verified model, with size and modification time to detect later changes."""

    path: str
    sha256: str
    bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path, sha256: str) -> VerifiedModel:
        """Return the record of a model that was just verified."""
        return cls(str(path.absolute()), sha256, *_stamp(path))

    def is_current(self) -> bool:
        """Return True if the file or folder exists and is unchanged."""
        try:
            return _stamp(Path(self.path)) == (self.bytes, self.modified_ns)
        except OSError:
            return False


def _stamp(path: Path) -> tuple[int, int]:
    """Return the total size and the sum of modification times of a model's files."""
    stats = [file.stat() for file in files_of(path)]
    return sum(s.st_size for s in stats), sum(s.st_mtime_ns for s in stats)


def is_model(path: Path) -> bool:
    """Return True if ``path`` is a file, or a folder with a ``config.json``."""
    return path.is_file() or (path / CONFIG_NAME).is_file()


def read_record(name: str) -> VerifiedModel | None:
    """Return the record of a card; None if it is missing or damaged."""
    return read_json_record(model_dir(name) / RECORD_NAME, VerifiedModel)


def write_record(name: str, record: VerifiedModel | None) -> None:
    """Write the record of a card atomically; if ``record`` is None, delete the stored one."""
    write_json_record(model_dir(name) / RECORD_NAME, record)


def resolve(source: PathSource, base_dir: Path) -> Path:
    """Return the path of a source; a relative path is resolved against the card's folder."""
    return base_dir / Path(source.path).expanduser()


def find(card: LocalCard, base_dir: Path) -> Path | None:
    """Return the path of the card's weights; None if they are missing or not verified.

    Weights given by a path without a digest are not verified. Nothing is downloaded.
    """
    record = read_record(card.name)
    if record is not None and not record.is_current():
        record = None
    for source in card.sources:
        if isinstance(source, PathSource):
            path = resolve(source, base_dir)
            if source.sha256 is None:
                if is_model(path):
                    return path
                continue
            if record is None or record.path != str(path.absolute()):
                continue
        if record is not None and record.sha256 == expected(source):
            return Path(record.path)
    return None


def expected(source: HubSource | PypiSource | PathSource) -> str | None:
    """Return the digest that a source's files must have; None if it is not known."""
    return expected_digest(source) if isinstance(source, HubSource) else source.sha256


def same_weights(card: LocalCard) -> VerifiedModel | None:
    """Return the record of another card with the same weights, if they are present."""
    wanted = {expected(source) for source in card.sources if not isinstance(source, PathSource)}
    for path in sorted((cache_dir() / "models").glob(f"*/{RECORD_NAME}")):
        record = read_json_record(path, VerifiedModel)
        if record is not None and record.sha256 in wanted and record.is_current():
            return record
    return None


def find_anywhere(card: LocalCard, base_dir: Path) -> Path | None:
    """Return the result of ``find``; if it is None, find the same weights under another card."""
    path = find(card, base_dir)
    if path is not None:
        return path
    record = same_weights(card)
    return None if record is None else Path(record.path)


def remove(card: LocalCard) -> int:
    """Delete a card's files from Archon's cache; keep the user's files and the hub's cache.

    A digest that was recorded at the first download from the hub is forgotten, too.

    Returns
    -------
    Number of bytes freed.

    Raises
    ------
    ModelError
        The folder cannot be deleted.
    """
    folder, record = model_dir(card.name), read_record(card.name)
    packed = packed_files(record.sha256) if record is not None else []
    unpinned = [each for each in card.sources if isinstance(each, HubSource) and not each.sha256]
    try:
        for source in unpinned:
            if (first := recorded(source)) is not None:
                packed += [path for path in packed_files(first.sha256) if path not in packed]
            write_hub_record(source, None)
        files = [path for path in folder.rglob("*") if path.is_file()]
        freed = sum(path.stat().st_size for path in (*files, *packed))
        for path in packed:
            path.unlink()
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise ModelError(f"cannot delete {folder}: {os_reason(error)}") from error
    return freed


def packed_files(digest: str) -> list[Path]:
    """Return the packed files of the weights with this digest, one per precision."""
    return sorted((cache_dir() / "packed").glob(f"{digest[:32]}-*"))
