"""Load a card's weights: decoders into engines, other models from folders of safetensors files.

Cards with the same weights, precision and context share one engine, even if their adapters and
sampling parameters differ. Only adapters that must be merged into the weights have their own. The
roles that use these cards then share batches, one copy of the weights, and one cache.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

from archon.engine.engine import Engine
from archon.engine.files.folder import ModelFolder
from archon.engine.loading import add_adapter, load_engine, open_adapter, open_model
from archon.engine.model.config import ModelFile, config_of
from archon.engine.model.weights import weights_of
from archon.engine.process import claim_process
from archon.engine.worker import EngineWorker
from archon.errors import ModelFileError
from archon.forks import reset_in_child
from archon.lm.local.chat import ChatFormat
from archon.lm.local.tokenizer import TextTokenizer, TokenizerConfig, read_tokenizer_config
from archon.lm.local.transformers_fallback import (
    adapter_folder,
    fallback_file,
    fallback_identity,
    load_fallback,
    text_part_line,
)
from archon.spec import catalog
from archon.spec.model import LocalCard
from archon.warn_once import warn_once
from archon.weights import cache_dir, identity, pull


@dataclass(frozen=True, slots=True)
class OpenedDecoder:
    """A decoder in an engine, with its tokenizer. Call ``release`` with its worker after use."""

    worker: EngineWorker
    file: ModelFile
    tokenizer_config: TokenizerConfig
    tokenizer: TextTokenizer
    chat: ChatFormat
    digest: str
    """Digest of the weights, with a merged adapter; empty if it is unknown."""
    adapter: str
    """Digest of the card's adapter; empty if the card has none, or if it is merged."""


def open_decoder(card: LocalCard, base_dir: Path) -> OpenedDecoder:
    """Load a card's decoder into an engine, or share the engine that already runs it.

    The weights are downloaded if necessary. If Archon's engine does not compute the model, and the
    card does not demand it, the transformers library does (``transformers_fallback``).

    Raises
    ------
    ModelError
        The weights are unavailable.
    ModelFileError
        The weights cannot be run.
    EngineError
        This process was forked from one that has already used the engine.
    """
    claim_process()
    path = pull(card, base_dir)
    if card.engine == "transformers":
        return _open_with_transformers(card, path, base_dir, None)
    try:
        file = open_model(path)
        num_embeddings = weights_of(file).config.vocab_size
    except ModelFileError as error:
        if card.engine == "archon":
            raise
        return _open_with_transformers(card, path, base_dir, error)
    if isinstance(file, ModelFolder) and file.combined:
        warn_once(text_part_line(card.name, file.combined))
    config = read_tokenizer_config(file)
    tokenizer = TextTokenizer(config)
    check_vocabulary(path, tokenizer, num_embeddings)
    chat = ChatFormat(config, tokenizer)
    adapter = None
    if card.adapter is not None:
        adapter = open_adapter(catalog.find_adapter(card.adapter, base_dir), config_of(file))
    digest, merged = identity(card, path), None
    if adapter is not None and adapter.must_be_merged:
        merged, adapter = adapter, None
        digest = hashlib.sha256(f"{digest} {merged.digest}".encode()).hexdigest()
    worker = shared_worker(
        (digest, card.precision, card.context),
        lambda: load_engine(
            file,
            card.precision,
            model_id=digest,
            context_length=card.context,
            keep_in=cache_dir(),
            merged=merged,
        ),
    )
    if adapter is not None:
        try:
            add_adapter(worker.engine, weights_of(file), adapter)
        except BaseException:
            release(worker)
            raise
    name = "" if adapter is None else adapter.digest
    return OpenedDecoder(worker, file, config, tokenizer, chat, digest, name)


def _open_with_transformers(
    card: LocalCard, path: Path, base_dir: Path, reason: ModelFileError | None
) -> OpenedDecoder:
    """Load a decoder with the transformers library; see ``open_decoder``.

    Parameters
    ----------
    reason
        Why Archon's engine does not run the model; None if the card demands the library.
    """
    file = fallback_file(card, path, reason)
    adapter = adapter_folder(card, base_dir)
    digest = fallback_identity(card, path, identity(card, path), adapter)
    if isinstance(file, ModelFolder) and file.combined:
        warn_once(text_part_line(card.name, file.combined))
    worker = shared_worker(
        (digest, card.precision, card.context, "transformers"),
        lambda: load_fallback(card, path, digest, adapter, reason),
    )
    try:
        config = read_tokenizer_config(file)
        tokenizer = TextTokenizer(config)
        check_vocabulary(path, tokenizer, worker.engine.decoder.config.vocab_size)
        chat = ChatFormat(config, tokenizer)
    except BaseException:
        release(worker)
        raise
    return OpenedDecoder(worker, file, config, tokenizer, chat, digest, adapter="")


def check_vocabulary(path: Path, tokenizer: TextTokenizer, num_embeddings: int) -> None:
    """Check that a model has an embedding for every token of its tokenizer.

    Models often have more embeddings than tokens, because the number of embeddings is rounded up.

    Raises
    ------
    ModelFileError
        There are fewer embeddings than tokens.
    """
    if num_embeddings < len(tokenizer.tokens):
        reason = f"the tokenizer has {len(tokenizer.tokens)} tokens, but the model has only"
        raise ModelFileError(f"{path}: {reason} {num_embeddings} embeddings")


def pull_folder(card: LocalCard, base_dir: Path, kind: str) -> tuple[Path, ModelFolder]:
    """Open a card's weights, which must be a folder of safetensors files.

    The weights are downloaded if necessary.

    Parameters
    ----------
    kind
        Type of the model in error messages, such as ``a cross-encoder``.

    Returns
    -------
    The path of the folder, and the open folder.

    Raises
    ------
    ModelError
        The weights are unavailable.
    ModelFileError
        The weights are not a folder.
    EngineError
        This process was forked from one that has already used the engine.
    """
    claim_process()
    path = pull(card, base_dir)
    file = open_model(path)
    if not isinstance(file, ModelFolder):
        raise ModelFileError(f"{path}: {kind} must be a folder of safetensors files")
    return path, file


# ------------------------------------------------------------------------------ shared engines

_WORKERS: WeakValueDictionary[Hashable, EngineWorker] = WeakValueDictionary()
_NUM_USERS: WeakKeyDictionary[EngineWorker, int] = WeakKeyDictionary()
_LOCK = threading.Lock()


def _forget() -> None:
    """Forget the parent's engines in a forked child process, where their threads do not run."""
    global _LOCK
    _LOCK = threading.Lock()
    _WORKERS.clear()
    _NUM_USERS.clear()


reset_in_child(_forget)


def shared_worker(key: Hashable, load: Callable[[], Engine]) -> EngineWorker:
    """Return the worker registered under ``key``, or start one for the engine returned by ``load``.

    Call ``release`` with the worker after use.
    """
    with _LOCK:
        worker = _WORKERS.get(key)
        if worker is None:
            worker = _WORKERS[key] = EngineWorker(load())
        _NUM_USERS[worker] = _NUM_USERS.get(worker, 0) + 1
        return worker


def release(worker: EngineWorker) -> None:
    """Release one use of a worker. After the last use, the engine's thread is stopped."""
    with _LOCK:
        _NUM_USERS[worker] = _NUM_USERS.get(worker, 1) - 1
        if _NUM_USERS[worker] > 0:
            return
        for key in [key for key, other in _WORKERS.items() if other is worker]:
            del _WORKERS[key]
    worker.close()
