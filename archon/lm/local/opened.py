"""A card's decoder in an engine, and how its text is written: what its users start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archon import catalog
from archon.engine.loading import add_adapter, load_engine, open_model
from archon.engine.model.config import ModelFile, config_of
from archon.engine.model.lora_config import read_adapter
from archon.engine.model.weights import weights_of
from archon.engine.process import claim_process
from archon.engine.worker import EngineWorker
from archon.errors import ModelFileError
from archon.lm.local.chat import ChatFormat
from archon.lm.local.sharing import leave, shared_worker
from archon.lm.local.text import TextRules, text_rules
from archon.lm.local.tokenizer import TextTokenizer
from archon.spec.model import LocalCard
from archon.weights import cache_dir, identity, pull


@dataclass(frozen=True, slots=True)
class OpenedDecoder:
    """A decoder that is in use; ``archon.lm.local.sharing.leave`` ends the use of its worker."""

    worker: EngineWorker
    file: ModelFile
    rules: TextRules
    tokenizer: TextTokenizer
    chat: ChatFormat
    digest: str
    """Of the weights; "" where they have none."""
    adapter: str
    """Digest of the card's adapter; "" for none."""


def open_decoder(card: LocalCard, base_dir: Path) -> OpenedDecoder:
    """Fetch the card's weights where they are not here yet, and load them into an engine, or take
    the engine that runs them already.

    Raises
    ------
    ModelError : the weights cannot be had.
    ModelFileError : they cannot be run.
    EngineError : this process was forked from one that computes.
    """
    claim_process()
    path = pull(card, base_dir)
    file = open_model(path)
    rules = text_rules(file)
    tokenizer, vocab_size = TextTokenizer(rules), config_of(file).vocab_size
    # Embeddings are often padded to a round number; a token without one could not be read.
    if vocab_size < len(tokenizer.tokens):
        raise ModelFileError(f"{path}: {len(tokenizer.tokens)} tokens, but {vocab_size} embeddings")
    chat = ChatFormat(rules, tokenizer)
    adapter = None
    if card.adapter is not None:
        adapter = read_adapter(catalog.find_adapter(card.adapter, base_dir))
    digest = identity(card, path)
    worker = shared_worker(
        (digest, card.precision, card.context),
        lambda: load_engine(
            file,
            card.precision,
            model_id=digest,
            context_length=card.context,
            keep_in=cache_dir(),
        ),
    )
    if adapter is not None:
        try:
            add_adapter(worker.engine, weights_of(file), adapter)
        except BaseException:
            leave(worker)
            raise
    name = "" if adapter is None else adapter.digest
    return OpenedDecoder(worker, file, rules, tokenizer, chat, digest, name)
