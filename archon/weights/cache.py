"""The cache: the folder of pulled weights, and the record of what was verified in it.

::

    <cache>/models/<card>/<file>          weights taken from wheels
    <cache>/models/<card>/verified.json   which file has which digest
    <cache>/models/<card>/wheels/         wheels of an unfinished pull
    <cache>/packed/<digest>-<precision>…  weights as the engine's kernels read them
    <cache>/kernels/                      the compiled kernels themselves
    <cache>/draws.sqlite3                 the pool of draws (``archon.lm.pool``)

The cache is the user's cache folder, or ``ARCHON_CACHE``. What comes from the hub stays in the
hub's own cache, a file or folder of the user's where it lies; the record points there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from archon.errors import ModelError, os_reason
from archon.spec.model import LocalCard, PathSource
from archon.storage.atomic import replacing
from archon.weights.model_files import CONFIG_NAME, files_of

RECORD_NAME = "verified.json"


def cache_dir() -> Path:
    """Archon's folder for what can be fetched or computed again."""
    chosen = os.environ.get("ARCHON_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("archon")


def model_dir(name: str) -> Path:
    """The folder of one card's weights; a name unfit for a file system gets a digest of itself."""
    folder = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    if folder != name or folder.startswith(".") or len(folder) > 100:
        folder = f"{folder[:80].lstrip('.')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return cache_dir() / "models" / folder


@dataclass(frozen=True, slots=True)
class VerifiedModel:
    """A verified model; size and modification time show whether it has changed since."""

    path: str
    sha256: str
    bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path, sha256: str) -> VerifiedModel:
        """The record of a model that was just verified."""
        return cls(str(path.absolute()), sha256, *_stamp(path))

    def holds(self) -> bool:
        """Whether the file or folder is still there and unchanged."""
        try:
            return _stamp(Path(self.path)) == (self.bytes, self.modified_ns)
        except OSError:
            return False


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change; of a folder's files, the sums, which change with any of them."""
    stats = [file.stat() for file in files_of(path)]
    return sum(s.st_size for s in stats), sum(s.st_mtime_ns for s in stats)


def is_model(path: Path) -> bool:
    """Whether there is a file, or a folder that may be a model's."""
    return path.is_file() or (path / CONFIG_NAME).is_file()


def read_record(name: str) -> VerifiedModel | None:
    """The record of a card, or None where there is none that can be read."""
    return _read(model_dir(name) / RECORD_NAME)


def _read(path: Path) -> VerifiedModel | None:
    try:
        return VerifiedModel(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_record(name: str, record: VerifiedModel | None) -> None:
    """Keep or forget a record; see ``replacing``."""
    path = model_dir(name) / RECORD_NAME
    if record is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, concurrent=True) as part:
        part.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")


def resolve(source: PathSource, base_dir: Path) -> Path:
    """What a path source names; a relative path starts at the card's own folder."""
    return base_dir / Path(source.path).expanduser()


def find(card: LocalCard, base_dir: Path) -> Path | None:
    """The card's weights where they are already here and verified; nothing is downloaded."""
    record = read_record(card.name)
    if record is not None and not record.holds():
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
        if record is not None and record.sha256 == source.sha256:
            return Path(record.path)
    return None


def same_weights(card: LocalCard) -> VerifiedModel | None:
    """The record of another card's weights that are those of this one, if they are here."""
    wanted = {source.sha256 for source in card.sources if not isinstance(source, PathSource)}
    for path in sorted((cache_dir() / "models").glob(f"*/{RECORD_NAME}")):
        record = _read(path)
        if record is not None and record.sha256 in wanted and record.holds():
            return record
    return None


def find_anywhere(card: LocalCard, base_dir: Path) -> Path | None:
    """As ``find``, or the same bytes where they were fetched for another card."""
    path = find(card, base_dir)
    if path is not None:
        return path
    record = same_weights(card)
    return None if record is None else Path(record.path)


def remove(card: LocalCard) -> int:
    """Delete what Archon keeps of a card; files of the hub's cache and of the user's stay.

    Returns
    -------
    The number of bytes freed.

    Raises
    ------
    ModelError
        The folder cannot be deleted.
    """
    folder, record = model_dir(card.name), read_record(card.name)
    packed = packed_files(record.sha256) if record is not None else []
    if not folder.exists():
        return 0
    try:
        files = [path for path in folder.rglob("*") if path.is_file()]
        freed = sum(path.stat().st_size for path in (*files, *packed))
        for path in packed:
            path.unlink()
        shutil.rmtree(folder)
    except OSError as error:
        raise ModelError(f"cannot delete {folder}: {os_reason(error)}") from error
    return freed


def packed_files(digest: str) -> list[Path]:
    """What the engine keeps of the weights with this digest, in every precision."""
    return sorted((cache_dir() / "packed").glob(f"{digest[:32]}-*"))
