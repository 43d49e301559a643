"""Pull a card's weights: lock its folder, try its sources in order, and verify the digest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archon.errors import MissingExtraError, ModelError, os_reason
from archon.spec.model import HubSource, LocalCard, PathSource, PypiSource
from archon.storage.lock import acquire
from archon.weights import hub, wheels
from archon.weights.cache import (
    VerifiedModel,
    find,
    is_model,
    model_dir,
    read_record,
    resolve,
    same_weights,
    write_record,
)
from archon.weights.digest import check, digest_of
from archon.weights.model_files import CONFIG_NAME
from archon.weights.progress import OnProgress, PullProgress, silent


def pull(
    card: LocalCard,
    base_dir: Path,
    on_progress: OnProgress | None = None,
    *,
    verify: bool = False,
) -> Path:
    """Return the path of the card's weights, after fetching and verifying them if necessary.

    Parameters
    ----------
    base_dir
        Folder of the card's file, against which relative paths are resolved.
    on_progress
        Called in the caller's thread as bytes arrive.
    verify
        Whether to verify weights that are already present, and to fetch damaged weights again.

    Raises
    ------
    ModelError
        No source provided weights with the right digest; the message lists a reason per source.
    """
    listen = on_progress or silent
    present = find(card, base_dir)
    if present is not None and not verify:
        return present
    try:
        with _lock(card.name, listen):
            if verify:
                _forget_damaged(card, listen)
            present = find(card, base_dir) or _reuse_weights(card)
            return present or _fetch_from_sources(card, base_dir, listen)
    except OSError as error:
        raise ModelError(f"{card.name}: {_reason_and_file(error)}") from error


_COMPUTED: dict[Path, VerifiedModel] = {}
"""Digests that ``identity`` computed in this process."""


def identity(card: LocalCard, path: Path) -> str:
    """Return the digest of a card's weights at ``path``.

    The digest is read from the card's record if that is current; otherwise, it is computed.
    """
    for record in (read_record(card.name), _COMPUTED.get(path)):
        if record is not None and record.is_current() and record.path == str(path.absolute()):
            return record.sha256
    found = VerifiedModel.of(path, digest_of(path, silent))
    _COMPUTED[path] = found
    return found.sha256


@contextmanager
def _lock(name: str, listen: OnProgress) -> Iterator[None]:
    """Lock the card's folder against other processes."""
    folder = model_dir(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{folder.name}.lock")
    with acquire(lock, on_busy=lambda: listen(PullProgress("waiting"))):
        yield


def _forget_damaged(card: LocalCard, listen: OnProgress) -> None:
    """Delete the card's record if the weights do not match it, so that they are fetched again."""
    record = read_record(card.name)
    if record is None or not record.is_current():
        return
    if digest_of(Path(record.path), listen) != record.sha256:
        write_record(card.name, None)


def _reuse_weights(card: LocalCard) -> Path | None:
    """Record weights fetched for another card as this card's; return their path, if there are any.

    The other card may describe, for example, the same model without an adapter.
    """
    record = same_weights(card)
    if record is None:
        return None
    write_record(card.name, record)
    return Path(record.path)


def _fetch_from_sources(card: LocalCard, base_dir: Path, listen: OnProgress) -> Path:
    reasons = []
    for source in card.sources:
        try:
            path, sha256 = _fetch(source, card, base_dir, listen)
            if sha256 is not None:
                write_record(card.name, VerifiedModel.of(path, sha256))
            return path
        except (ModelError, MissingExtraError) as error:
            reasons.append(f"{_label(source)}: {error}")
        except OSError as error:
            reasons.append(f"{_label(source)}: {_reason_and_file(error)}")
    first_line = f"no source of the model card {card.name!r} provided its weights:"
    raise ModelError("\n  ".join([first_line, *reasons]))


def _fetch(
    source: HubSource | PypiSource | PathSource,
    card: LocalCard,
    base_dir: Path,
    listen: OnProgress,
) -> tuple[Path, str | None]:
    """Return the file or folder of one source, and its verified digest; None without one."""
    match source:
        case HubSource():
            return hub.fetch(source, listen, card.bytes)
        case PypiSource():
            folder = model_dir(card.name)
            folder.mkdir(parents=True, exist_ok=True)
            if source.folder is not None:
                path = folder / "model"
                if not is_model(path) or digest_of(path, listen) != source.sha256:
                    wheels.fetch_folder(source, path, listen, card.bytes)
                return path, source.sha256
            path = folder / f"{folder.name}.gguf"
            if not path.is_file() or digest_of(path, listen) != source.sha256:
                wheels.fetch(source, path, listen, card.bytes)
            return path, source.sha256
        case PathSource():
            path = resolve(source, base_dir)
            if path.is_dir() and not is_model(path):
                raise ModelError(f"the folder has no {CONFIG_NAME}")
            if source.sha256 is not None:
                check(digest_of(path, listen), source.sha256, str(path))
            elif not is_model(path):
                raise ModelError(f"{path} does not exist")
            return path, source.sha256


def _label(source: HubSource | PypiSource | PathSource) -> str:
    match source:
        case HubSource():
            return f"hub {source.huggingface}"
        case PypiSource():
            return f"wheels {source.pypi[0]}" + (", …" if len(source.pypi) > 1 else "")
        case PathSource():
            return f"path {source.path}"


def _reason_and_file(error: OSError) -> str:
    """Return the reason and the file of a system error: ``No space left on device: /cache/…``."""
    reason = os_reason(error)
    return f"{reason}: {error.filename}" if error.filename else reason
