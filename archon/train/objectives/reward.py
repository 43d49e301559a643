"""Reward modelling: fit a head to a model's hidden states, and optionally train an adapter.

The head is fitted to hidden states that the engine computes in the card's precision, because
rewards are later computed from the same numbers. An adapter is trained in the trainer's number
format, and many times on the same replies, so the probabilities would be overconfident. Therefore,
after the adapter is trained, the engine computes hidden states with the adapter, and the head is
corrected:

- for the ``outcome`` goal, by Platt scaling on judged replies that are set aside for this purpose;
- for the ``preference`` goal, by a bias that makes the mean logit of a sample of replies 0.

Shape suffixes: N replies, E width of the hidden states.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from archon.engine.loading import hidden_in_file_basis
from archon.engine.model.reward_head import RewardHead, read_reward_head, write_reward_head
from archon.engine.scheduling.hidden_state import hidden_state, hidden_state_request
from archon.errors import UsageError
from archon.graph.event_loop import run_sync
from archon.lm.concurrency import run_all
from archon.lm.local.card_loading import OpenedDecoder, open_decoder, release
from archon.lm.local.reward import end_of_reply
from archon.spec.model import LocalCard
from archon.spec.training import RewardSpec
from archon.train.base_model import base_card
from archon.train.folder import ADAPTER, REWARD, Card
from archon.train.platt import platt_scaling
from archon.train.probe import check_learnable, fit_probe, head_logits
from archon.train.report_lines import Line, left_out, percent
from archon.train.reward_data import (
    ReplyDataset,
    open_replies,
    split_questions,
    tokenize_replies,
    with_goal,
)
from archon.train.reward_lora import AdapterSteps
from archon.train.reward_metrics import reward_metrics
from archon.train.splits import chunks
from archon.train.trainer import OnProgress, Start, State, delayed_interrupts

_CHUNK = 64
"""Number of replies whose hidden states are computed together, between two checks for Ctrl-C."""
_SAVE_EVERY = 16
"""Number of chunks between two saved states."""
_CALIBRATION_SHARE = 0.1
"""Share of the training questions that is set aside for Platt scaling."""
_ANCHORS = 512
"""Maximum number of replies whose mean logit is shifted to 0 after an adapter has learned
preferences."""


def open_objective(spec: RewardSpec, start: Start) -> RewardModeling:
    """Read or sample the replies, and return the objective.

    Raises
    ------
    UsageError
        The card's model does not generate text. Or it already has an adapter, and the configuration
        trains one. Or no head can learn the goal from the replies.
    SpecError
        A file of replies is missing or malformed.
    """
    card, card_dir = start.pull_card(spec.model)
    if card.transformer != "decoder" or card.reward is not None:
        raise UsageError(
            f"{card.name} does not generate text, so no reward head can be trained on it; choose a "
            "model that generates text"
        )
    if card.adapter is not None and spec.lora is not None:
        raise UsageError(
            f"{card.name} already has an adapter, so another adapter cannot be trained; remove "
            "'lora'"
        )
    return RewardModeling(spec, card, card_dir, open_replies(spec.data, start), start)


class RewardModeling:
    """Objective of reward modelling (``archon.train.trainer.Objective``).

    ``begin`` fits the head. The steps train the adapter; without an adapter, there are no steps.
    """

    unit = "loss"

    def __init__(
        self, spec: RewardSpec, card: LocalCard, card_dir: Path, replies: ReplyDataset, start: Start
    ) -> None:
        self.num_steps = spec.lora.steps if spec.lora else 0
        self.save_every = spec.lora.save_every if spec.lora else 1
        self.data = replies = with_goal(replies, spec.goal, spec.seed)
        self._spec, self._card, self._card_dir, self._start = spec, card, card_dir, start
        self._folder, self._reads_conversations = start.folder, replies.reads_conversations
        learned, held_out = split_questions(replies.questions, spec.held_out, spec.seed)
        aside: list[str] = []
        if spec.lora is not None and replies.goal == "outcome":
            learned, aside = split_questions(learned, _CALIBRATION_SHARE, spec.seed)
        if len(learned) < 2:
            apart = f"{len(held_out)} are held out" + (
                f" and {len(aside)} are set aside for calibration" if aside else ""
            )
            raise UsageError(
                f"there are replies to {len(replies.questions)} questions, of which {apart}; a "
                "reward model needs at least two more questions to learn from"
            )
        self._learn, self._aside, self._held_out = map(replies.subset, (learned, aside, held_out))
        check_learnable(self._learn)
        self._adapter: AdapterSteps | None = None

    @property
    def curve(self) -> list[float]:
        """See ``Objective.curve``."""
        return [] if self._adapter is None else self._adapter.steps.curve

    def begin(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """Fit a head to the unchanged model, and write the head and a card."""
        self._folder.write_record()  # makes the folder resumable from here on
        started = time.monotonic()
        learn, held_out, name = self._learn, self._held_out, self._card.name
        with _opened(self._card, self._card_dir) as opened:
            both = replace(learn, replies=(*learn.replies, *held_out.replies))
            hidden_NE = self._hidden(opened, both, on_progress, resumable=True)
            digest, adapter = opened.digest, opened.adapter
        on_progress("fitting the head", 0, 1)
        num_learned = len(learn.replies)
        probe = fit_probe(hidden_NE[:num_learned], learn, self._spec.penalties, self._spec.seed)
        self._write(
            RewardHead(learn.goal, probe.weight_E.float(), probe.bias, name, digest, adapter)
        )
        logit_N = head_logits(hidden_NE, probe.weight_E, probe.bias)
        return {
            "questions": len(learn.questions),
            "replies": num_learned,
            **({"pairs": len(learn.pairs)} if learn.pairs else {}),
            "penalty": probe.penalty,
            "fold_losses": [round(loss, 5) for loss in probe.fold_losses],
            "learnt": _metrics(logit_N[:num_learned], learn),  # codespell:ignore learnt
            "before": _metrics(logit_N[num_learned:], held_out),
            "probe_seconds": round(time.monotonic() - started, 1),
        }

    def step(self, step: int) -> float:
        """See ``Objective.step``."""
        return self._adapter_steps().steps.take(step)

    def end(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """See ``Objective.end``."""
        if self._spec.lora is None:
            return {"after": self._folder.record["before"]}
        return self._adapt(on_progress)

    def state(self) -> State:
        """See ``Objective.state``."""
        steps = self._adapter_steps().steps
        return steps.optimization.state(), {"kind": "adapter", "curve": steps.curve}

    def restore(self, tensors: Mapping[str, Tensor], progress: Any) -> None:
        """Resume training the adapter; a saved state with hidden states is ignored."""
        if progress.get("kind") == "adapter":
            self._adapter_steps().steps.optimization.restore(tensors, progress["curve"])

    def _adapter_steps(self) -> AdapterSteps:
        """Return the steps that train the adapter, starting from the head that ``begin`` wrote."""
        if self._adapter is None:
            head = read_reward_head(self._folder.path / REWARD)
            self._adapter = AdapterSteps(
                self._spec, self._card, self._card_dir, self._learn, head, self._start.device
            )
        return self._adapter

    # -------------------------------------------------------------------------- hidden states

    def _hidden(
        self,
        opened: OpenedDecoder,
        replies: ReplyDataset,
        on_progress: OnProgress,
        *,
        resumable: bool = False,
    ) -> Tensor:
        """Return the hidden state of each reply, (N, E), in the basis of the model's file.

        Parameters
        ----------
        resumable
            Whether to checkpoint the hidden states in the training folder, and to resume from that
            checkpoint.
        """
        engine, file = opened.worker.engine, opened.file
        end, context_length = end_of_reply(opened.tokenizer_config), engine.context_length
        texts = tokenize_replies(replies, opened.chat, opened.tokenizer, end, context_length)
        inputs = json.dumps([opened.digest, self._card.precision, texts])
        digest = hashlib.sha256(inputs.encode()).hexdigest()
        progress = {"kind": "hidden", "of": digest}
        saved = self._folder.read_state() if resumable else None
        rows: list[Tensor] = []
        if saved is not None and saved[1] == progress:
            rows += saved[0]["hidden"].unbind()

        async def read(chunk: Sequence[tuple[int, ...]]) -> list[Tensor]:
            requests = (hidden_state_request(ids, opened.adapter) for ids in chunk)
            found = await run_all(opened.worker.generate(request) for request in requests)
            return [hidden_state(generation) for [generation] in found]

        with delayed_interrupts() as is_interrupted:
            for number, chunk in enumerate(chunks(texts[len(rows) :], _CHUNK), 1):
                on_progress("reading replies", len(rows), len(texts))
                found = run_sync(read(chunk))
                rows += hidden_in_file_basis(engine, file, torch.stack(found)).unbind()
                is_due = number % _SAVE_EVERY == 0 or len(rows) == len(texts)
                if resumable and (is_due or is_interrupted()):
                    self._folder.save_state({"hidden": torch.stack(rows)}, progress)
                if is_interrupted():
                    raise KeyboardInterrupt
        return torch.stack(rows)

    # --------------------------------------------------------------------------------- adapter

    def _adapt(self, on_progress: OnProgress) -> dict[str, Any]:
        """Write the trained adapter, its corrected head, and the card."""
        adapter = self._adapter_steps()
        head = adapter.save(self._folder.path / ADAPTER)
        card = self._new_card() | {"adapter": f"./{ADAPTER}"}
        record: dict[str, Any] = {
            "trained_parameters": adapter.steps.optimization.num_trained,
            "too_long": adapter.num_left_out,
            "loss": adapter.steps.thinned_curve,
        }
        with _opened(LocalCard.model_validate(card), self._folder.path) as opened:
            if head.goal == "preference":
                head = self._centred(opened, head, on_progress)
            else:
                head, record["scaling"] = self._scaled(opened, head, on_progress)
            head = replace(head, base_digest=opened.digest, adapter=opened.adapter)
            hidden_NE = self._hidden(opened, self._held_out, on_progress)
        self._write(head, adapter=f"./{ADAPTER}")
        logit_N = head_logits(hidden_NE, head.weight_E, head.bias)
        return record | {"after": _metrics(logit_N, self._held_out)}

    def _centred(
        self, opened: OpenedDecoder, head: RewardHead, on_progress: OnProgress
    ) -> RewardHead:
        """Return the head with a bias that makes the mean logit of some training replies 0."""
        learn = self._learn
        count = min(_ANCHORS, len(learn.replies))
        anchors = Random(f"anchors/{self._spec.seed}").sample(learn.replies, count)
        hidden_NE = self._hidden(opened, replace(learn, replies=tuple(anchors)), on_progress)
        return replace(head, bias=-float(head_logits(hidden_NE, head.weight_E, 0.0).mean()))

    def _scaled(
        self, opened: OpenedDecoder, head: RewardHead, on_progress: OnProgress
    ) -> tuple[RewardHead, dict[str, Any]]:
        """Return the head after Platt scaling on the replies set aside, and record entries."""
        aside = self._aside
        logit_N = head_logits(self._hidden(opened, aside, on_progress), head.weight_E, head.bias)
        slope, bias = platt_scaling(logit_N, aside.correct)
        scaled = replace(head, weight_E=slope * head.weight_E, bias=slope * head.bias + bias)
        fit = {"replies": len(aside.replies), "slope": round(slope, 4), "bias": round(bias, 4)}
        return scaled, fit

    # --------------------------------------------------------------------------------- folder

    def _write(self, head: RewardHead, **keys: str) -> None:
        """Write a head, and a card that uses it; ``keys`` are added to the card."""
        write_reward_head(head, self._folder.path / REWARD)
        card = self._new_card() | keys | {"reward": f"./{REWARD}"}
        template = "conversation" if self._reads_conversations else "bare"
        self._folder.write_card(card | {"prompt": {"template": template}})

    def _new_card(self) -> Card:
        """Return the base model's card, with the name and description of the training run."""
        card = base_card(self._card, self._card_dir)
        card.pop("sampling", None)
        card.pop("prompt", None)
        return card | {"name": self._spec.name, "description": self._spec.description}


@contextmanager
def _opened(card: LocalCard, base_dir: Path) -> Iterator[OpenedDecoder]:
    """Open a card's decoder, and release it at the end of the block."""
    opened = open_decoder(card, base_dir)
    try:
        yield opened
    finally:
        release(opened.worker)


def _metrics(logit_N: Tensor, replies: ReplyDataset) -> dict[str, Any]:
    metrics = reward_metrics(logit_N.sigmoid().tolist(), replies)
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in metrics.items()}


def report(record: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the lines that the command prints after training."""
    replies, questions = f"{record['replies']:,} replies", f"{record['questions']:,} questions"
    yield f"learned from {replies} to {questions}", "bold"
    yield from left_out(record, "replies")
    yield from ((line, None) for line in _quality(record["after"]))


def _quality(after: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines about the quality of the rewards for the held-out replies."""
    if "right" not in after:  # the replies were compared, not judged
        yield (
            f"on {after['pairs']:,} held-out pairs: the chosen reply has the higher reward in "
            f"{percent(after['accuracy'])} of them"
        )
        return
    auc = "–" if after["auc"] is None else f"{after['auc']:.3f}"
    yield (
        f"on {after['replies']:,} replies to {after['questions']:,} held-out questions "
        f"({percent(after['right'])} of them right): area under the ROC curve {auc}"
    )
    if "brier" in after:
        yield (
            f"rewards as probabilities: accuracy {percent(after['accuracy'])}, Brier score "
            f"{after['brier']:.3f}, calibration error {after['calibration_error']:.3f}"
        )
    if after["within_questions"] is not None:
        yield (
            "a right reply has a higher reward than a wrong one to the same question in "
            f"{percent(after['within_questions'])} of such pairs"
        )
    yield (
        f"the reply with the highest reward is right for {percent(after['best_of_n'])} of the "
        f"questions, a random reply for {percent(after['chance'])}, at least one reply for "
        f"{percent(after['oracle'])}"
    )
    if "vote" in after:
        yield (
            f"a majority vote is right for {percent(after['vote'])} of the questions, a vote "
            f"weighted by rewards for {percent(after['vote_by_score'])}, a vote weighted by the "
            f"odds of rewards for {percent(after['vote_by_odds'])}"
        )
