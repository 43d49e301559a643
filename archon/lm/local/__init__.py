"""Models in the local engine: text in and out, token ids in between.

Read ``lm`` (a decoder as an LM), ``card_loading`` (weights and shared engines), ``chat`` (messages
→ prompt) with ``template`` and ``content_mask``, ``tokenizer/``, ``detokenizer``, and then
``constraint`` and ``reasoning_constraint``. ``reward`` is a decoder with a reward head;
``translator``, ``cross_encoder`` and ``sentence_encoder`` are models of other kinds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from archon.errors import require

if TYPE_CHECKING:
    from archon.lm.base import LM
    from archon.spec.model import LocalCard


def open_local(card: LocalCard, base_dir: Path | None = None) -> LM:
    """Pull a card's weights and load them.

    Raises
    ------
    ModelError
        The weights are unavailable or cannot be run.
    MissingExtraError
        Torch, or another part of the engine, is not installed.
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
