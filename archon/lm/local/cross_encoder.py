"""Cross-encoders as reward models. A cross-encoder reads a question and a reply as one text.

Each token of the reply can attend to every token of the question. In contrast, a sentence encoder
computes separate vectors for the question and the reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from archon.engine.encoders.heads import TextClassifier
from archon.engine.encoders.weights import load_text_classifier
from archon.engine.process import claim_process
from archon.errors import ModelFileError
from archon.lm.compute import report_scored
from archon.lm.local.card_loading import pull_folder
from archon.lm.local.compute import encoder_compute
from archon.lm.local.encoder_tokenizer import encoder_tokenizer, padded
from archon.lm.reward import RewardLM
from archon.spec.model import LocalCard
from archon.types import Message


def load(card: LocalCard, base_dir: Path) -> RewardLM:
    """Load a card's cross-encoder; download its weights if necessary.

    Raises
    ------
    ModelError
        The weights are unavailable.
    ModelFileError
        The weights cannot be run, or they have no classification head with one or two classes.
    """
    path, file = pull_folder(card, base_dir, "a cross-encoder")
    model = load_text_classifier(file)
    if model.classes.out_features > 2:
        reason = (
            f"the classification head has {model.classes.out_features} classes; a reward model "
            "needs one or two"
        )
        raise ModelFileError(f"{path}: {reason}")
    tokenizer = encoder_tokenizer(file, model.encoder.config.context_length)
    return RewardLM(CrossEncoder(model, tokenizer), card.name)


class CrossEncoder:
    """Reward model that classifies pairs of the last message and a reply.

    The reward is the probability of the only class, or of the second of two classes.
    """

    def __init__(self, model: TextClassifier, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Return one reward per text, computed in one batch.

        Pairs that exceed the context are truncated.
        """
        claim_process()
        return await asyncio.to_thread(self._score, messages[-1].content, texts)

    @torch.inference_mode()
    def _score(self, question: str, texts: Sequence[str]) -> list[float]:
        if not texts:
            return []
        encodings = self._tokenizer.encode_batch([(question, text) for text in texts])
        for encoding in encodings:
            num_tokens = len(encoding.ids)
            compute = encoder_compute(self._model.encoder.config, num_tokens)
            report_scored(num_tokens, compute, is_truncated=bool(encoding.overflowing))
        batch = padded(encodings)
        logits_BC = self._model(batch.ids_BT, batch.is_token_BT, batch.segment_BT)
        logit_B = logits_BC[:, -1] - logits_BC[:, :-1].sum(-1)
        rewards: list[float] = logit_B.double().sigmoid().tolist()
        return rewards
