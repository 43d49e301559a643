"""Models in the local engine.

``lm`` contains the language model (``LocalLM``), and ``card_loading`` loads weights into engines.
Prompts: ``chat`` converts messages to token ids, with ``template``, ``content_mask`` and
``tokenizer``. Replies: ``detokenizer`` converts token ids to text; ``constraint`` and
``reasoning_constraint`` restrict them. Other models: ``reward`` (a decoder with a reward head),
``translator`` (an encoder–decoder), ``cross_encoder`` and ``sentence_encoder``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from archon.errors import require

if TYPE_CHECKING:
    from archon.lm.base import LM
    from archon.spec.model import LocalCard


def open_local(card: LocalCard, base_dir: Path | None = None) -> LM:
    """Download the weights of a card if necessary, and load them.

    Raises
    ------
    ModelError
        The weights are unavailable or cannot be run.
    MissingExtraError
        Torch, or another package of the engine, is not installed.
    """
    for package in ("torch", "tokenizers", "safetensors", "jinja2", "llguidance"):
        require(package, "engine")
    folder = base_dir or Path()
    match card.transformer:
        case "decoder" if card.reward is not None:
            from archon.lm.local import reward

            return reward.load(card, folder)
        case "decoder":
            from archon.lm.local import lm

            return lm.load(card, folder)
        case "encoder-decoder":
            from archon.lm.local import translator

            return translator.load(card, folder)
        case "cross-encoder":
            from archon.lm.local import cross_encoder

            return cross_encoder.load(card, folder)
        case "sentence-encoder":
            from archon.lm.local import sentence_encoder

            return sentence_encoder.load(card, folder)
        case _:
            assert_never(card.transformer)
