"""Supervised fine-tuning (SFT): train a model on completions of given prompts.

The loss is the cross-entropy of the completions' tokens. Prompt tokens do not contribute to the
loss.
"""

from __future__ import annotations

from pathlib import Path

from archon.spec.training import SFTSpec
from archon.train.base_model import open_base
from archon.train.folder import Card
from archon.train.objectives.next_token import NextToken, build_corpus, report, text_model_card
from archon.train.sft_data import dialogues, tokenize_dialogue
from archon.train.trainer import Start

__all__ = ["open_objective", "report"]


def open_objective(spec: SFTSpec, start: Start) -> NextToken:
    """Load the card's model, select the parameters to train, and read the dialogues.

    Raises
    ------
    SpecError
        The data is missing or malformed.
    ModelError
        The weights are unavailable or cannot be run.
    UsageError
        The model does not generate text, or does not have the layers to train.
    """
    base = open_base(*start.pull_card(spec.model))
    found = [
        tokenize_dialogue(dialogue, base.chat, base.tokenizer, base.end, base.template_variables)
        for dialogue in dialogues(spec.data, start.base_dir)
    ]
    model = base.trainable(spec, start.device)

    def save(folder: Path) -> Card:
        card = base.save(model, spec, folder, text_model_card(spec))
        return card | {"prompt": {"template": "bare"}}  # as in the training

    corpus = build_corpus(spec, found, model, base.tokenizer, base.end, save)
    return NextToken(spec, corpus, start.folder, start.device)
