"""Supervised fine-tuning: a card's model learns to write the completions of given prompts."""

from __future__ import annotations

from pathlib import Path

from archon.spec.training import SFTSpec
from archon.train.base_model import Card, open_base
from archon.train.folder import MODEL
from archon.train.objectives.next_token import NextToken, card_of, corpus, report
from archon.train.sft_data import answer_text, dialogues
from archon.train.trainer import Start

__all__ = ["open_objective", "report"]


def open_objective(spec: SFTSpec, start: Start) -> NextToken:
    """Load the card's model, and choose which of its parameters are trained.

    Raises
    ------
    SpecError
        The data is missing or malformed.
    ModelError
        The weights are unavailable or cannot be run.
    UsageError
        The model generates no text, or has no such layers.
    """
    base = open_base(*start.pull_card(spec.model))
    found = [
        answer_text(dialogue, base.chat, base.tokenizer, base.end, base.template_variables)
        for dialogue in dialogues(spec.data, start.base_dir)
    ]
    model = base.trainable(spec, start.device)

    def save(folder: Path) -> Card:
        made = base.save(model, spec, folder, card_of(spec, MODEL))
        return made | {"prompt": {"template": "bare"}}  # as the prompts were learned

    learned = corpus(spec, found, model, base.tokenizer, base.end, save)
    return NextToken(spec, learned, start.folder, start.device)
