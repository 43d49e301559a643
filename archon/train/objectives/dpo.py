"""Direct preference optimization (DPO): train a model to prefer chosen to rejected replies.

The implicit reward of a reply y to a prompt x is r(x, y) = β · (log π(y|x) − log π_ref(y|x)), where
π is the model and π_ref is the model before training. The loss of a pair is the loss of a reward
model (Bradley and Terry 1952), −log sigmoid(r(x, chosen) − r(x, rejected)). In this way, the model
is trained directly on preferences, without a separate reward model (Rafailov et al. 2023, arXiv
2305.18290).

Shape suffixes: P pairs, N replies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from archon.errors import LMError, SpecError
from archon.spec.messages import shown
from archon.spec.training import DPOSpec
from archon.train.base_model import Base, open_base
from archon.train.decoder import TrainableDecoder
from archon.train.folder import TrainingFolder, new_card
from archon.train.logprobs import LogprobComputer
from archon.train.loss_objective import LossObjective
from archon.train.optimization import LossPart
from archon.train.packing import fits, make_batch, pack_once
from archon.train.report_lines import Line, headline, held_out_loss, left_out, percent
from archon.train.reward_data import ReplyDataset, open_replies, with_goal
from archon.train.sft_data import Text
from archon.train.splits import batches, chunks, hold_out
from archon.train.trainer import Start
from archon.types import Message


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """A chosen and a rejected reply to one prompt."""

    question: str
    chosen: Text
    rejected: Text


@dataclass(frozen=True, slots=True)
class PairCorpus:
    """Preference pairs to learn from, and held-out pairs."""

    learned: list[PreferencePair]
    held_out: list[PreferencePair]
    num_too_long: int
    """Number of pairs that are excluded because a reply does not fit in a row."""
    reads_conversations: bool
    """Whether the prompts are conversations, in the form in which an architecture sends them."""


def open_objective(spec: DPOSpec, start: Start) -> PreferenceOptimization:
    """Load the card's model; read or sample the replies.

    Raises
    ------
    SpecError
        The data is missing or malformed, or no pair is left to learn from.
    ModelError
        The weights are unavailable or cannot be run.
    UsageError
        The model does not generate text, or does not have the layers to train.
    """
    base = open_base(*start.pull_card(spec.model))
    replies = with_goal(open_replies(spec.data, start), "preference", spec.seed)
    found = list(_pairs(replies, base))
    fitting = [p for p in found if fits(p.chosen, spec.context) and fits(p.rejected, spec.context)]
    learned, held_out = hold_out(fitting, spec.held_out, spec.seed, lambda pair: pair.question)
    num_too_long = len(found) - len(fitting)
    if not learned:
        raise SpecError(
            f"no pairs are left for training: of {len(found)} pairs, {num_too_long} do not fit "
            f"in {spec.context} tokens, and {spec.held_out} are held out together with all other "
            "pairs with the same questions; change 'context' or 'held_out'",
            path="$.data",
        )
    corpus = PairCorpus(learned, held_out, num_too_long, replies.reads_conversations)
    model = base.trainable(spec, start.device)
    return PreferenceOptimization(spec, base, model, corpus, start.folder, start.device)


def _pairs(replies: ReplyDataset, base: Base) -> Iterator[PreferencePair]:
    prompts: dict[tuple[Message, ...], list[int]] = {}
    texts: list[Text] = []
    for reply in replies.replies:
        if reply.messages not in prompts:
            try:
                prompts[reply.messages] = base.chat.encode(reply.messages, base.template_variables)
            except LMError as error:
                raise SpecError(f"question {shown(reply.question)}: {error}") from None
        given = prompts[reply.messages]
        token_ids = (*given, *base.tokenizer.encode_continuation(reply.text), base.end)
        texts.append(Text(token_ids, len(given), len(given), reply.question))
    for chosen, rejected in replies.pairs:
        yield PreferencePair(replies.replies[chosen].question, texts[chosen], texts[rejected])


class PreferenceOptimization(LossObjective):
    """Objective of DPO; the reference is the model before the first step."""

    def __init__(
        self,
        spec: DPOSpec,
        base: Base,
        model: TrainableDecoder,
        corpus: PairCorpus,
        folder: TrainingFolder,
        device: torch.device,
    ) -> None:
        model.checkpoints = spec.checkpoint_layers
        super().__init__(spec, model, (corpus.learned, corpus.held_out), folder)
        self._spec, self._base, self._model, self._corpus = spec, base, model, corpus
        self._computer, self._device = LogprobComputer(model, spec, device), device
        # A resumed training restores its trained weights later, so these are the reference's.
        self._reference = self._reference_logprobs()

    def described(self) -> Mapping[str, Any]:
        """See ``LossObjective.described``."""
        return {"pairs": len(self._corpus.learned), "too_long": self._corpus.num_too_long}

    def save(self) -> None:
        """See ``LossObjective.save``."""
        spec, path = self._spec, self.folder.path
        card = self._base.save(self._model, spec, path, new_card(spec))
        if not self._corpus.reads_conversations:
            card["prompt"] = {"template": "bare"}  # as in the training
        self.folder.write_card(card)

    def losses(self, num_taken: int) -> Iterator[list[LossPart]]:
        """See ``LossObjective.losses``."""
        spec = self._spec
        for pairs in batches(self._corpus.learned, spec.pairs, f"pairs/{spec.seed}", num_taken):
            yield [partial(self._loss, part, len(pairs)) for part in self._parts(pairs)]

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Return the loss, accuracy and margin on the held-out pairs.

        The accuracy is the share of pairs whose chosen reply has the higher implicit reward. The
        margin is the mean difference between the two implicit rewards.
        """
        held_out = self._corpus.held_out
        self._model.eval()
        if not held_out:
            return {}
        margin_P = torch.cat([self._margins(part) for part in self._parts(held_out)])
        return {
            "held_out_loss": dpo_losses(margin_P).mean().item(),
            "held_out_accuracy": (margin_P > 0).float().mean().item(),
            "held_out_margin": margin_P.mean().item(),
            "num_held_out": len(held_out),
        }

    def _parts(self, pairs: Sequence[PreferencePair]) -> Iterator[Sequence[PreferencePair]]:
        """Split pairs into parts whose replies fit in one batch even with one reply per row."""
        return chunks(pairs, max(self._spec.rows // 2, 1))

    def _loss(self, pairs: Sequence[PreferencePair], num_pairs: int) -> Tensor:
        """Return the sum of these pairs' losses divided by ``num_pairs``, a scalar."""
        return dpo_losses(self._margins(pairs)).sum() / num_pairs

    def _margins(self, pairs: Sequence[PreferencePair]) -> Tensor:
        """Return the difference in implicit reward between chosen and rejected reply, (P,)."""
        texts = [text for pair in pairs for text in (pair.chosen, pair.rejected)]
        reference_N = torch.tensor([self._reference[text] for text in texts], device=self._device)
        change_P2 = (self._logprobs(texts) - reference_N).view(-1, 2)
        return self._spec.beta * (change_P2[:, 0] - change_P2[:, 1])

    def _logprobs(self, texts: Sequence[Text]) -> Tensor:
        """Return the log-probability of each reply, in nats: (N,)."""
        rows = pack_once(list(dict.fromkeys(texts)), self._spec.context)
        logprob_T = self._computer.logprobs(make_batch(rows, self._spec.context).to(self._device))
        packed = list(chain.from_iterable(rows))
        sizes = [len(text.reply_ids) for text in packed]
        of_text = dict(zip(packed, logprob_T.split(sizes), strict=True))
        return torch.stack([of_text[text].sum() for text in texts])

    @torch.no_grad()
    def _reference_logprobs(self) -> dict[Text, float]:
        """Return the log-probability of each reply in the corpus under the current weights."""
        self._model.eval()
        pairs = [*self._corpus.learned, *self._corpus.held_out]
        found: dict[Text, float] = {}
        for part in self._parts(pairs):
            texts = [text for pair in part for text in (pair.chosen, pair.rejected)]
            found |= dict(zip(texts, self._logprobs(texts).tolist(), strict=True))
        return found


def dpo_losses(margin_P: Tensor) -> Tensor:
    """Return the loss of each pair, −log sigmoid(margin), from its margin: (P,), in nats."""
    return functional.softplus(-margin_P)


def report(record: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the lines that the command prints after training."""
    yield headline(record, f"{record['pairs']:,} pairs of replies")
    yield from left_out(record, "pairs")
    yield from held_out_loss(record)
    after = record["after"]
    if after:
        share, count = percent(after["held_out_accuracy"]), after["num_held_out"]
        yield (
            f"on {count:,} held-out pairs: the chosen reply has the higher implicit reward in "
            f"{share} of them; mean margin {after['held_out_margin']:.3f}",
            None,
        )
