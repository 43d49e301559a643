"""Training a reward model: hidden states by the engine, a head fitted to them, maybe an adapter.

The engine that will compute rewards computes what the head learns from, in the card's precision:
the head reads in use the very numbers that it was fitted to. An adapter learns in the trainer's
numbers, and from the same replies over and over; so its probabilities are settled last, by what
the engine reads: of judged replies that were set aside, or of some of those that were preferred or
rejected.
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
from archon.train.folder import ADAPTER, REWARD
from archon.train.platt import platt_scaling
from archon.train.probe import Probe, check_learnable, fit_probe
from archon.train.report_lines import Line, left_out, percent
from archon.train.reward_data import ReplyDataset, open_replies, parted, tokenize_replies, with_goal
from archon.train.reward_lora import AdapterSteps
from archon.train.reward_metrics import reward_metrics
from archon.train.trainer import OnProgress, Start, State, delayed_interrupts

_CHUNK = 64
"""Replies computed at once, between two checks for an interrupt."""
_SAVE_EVERY = 16
_ASIDE = 0.1
"""Share of the questions to learn from that an adapter does not see: probabilities are fitted to
their replies."""
_ANCHORS = 512
"""Replies whose mean logit is shifted to 0 after an adapter has learned preferences."""


def open_objective(spec: RewardSpec, start: Start) -> RewardModeling:
    """Read or sample the replies.

    Raises
    ------
    UsageError
        The card's model does not generate text, or the replies teach nothing or do not fit the
        goal.
    SpecError
        A file of replies is missing or malformed.
    """
    card, card_dir = start.pull_card(spec.model)
    if card.transformer != "decoder" or card.reward is not None:
        raise UsageError(f"{card.name} is no decoder that writes, which alone can get a head")
    if card.adapter is not None and spec.lora is not None:
        raise UsageError(
            f"{card.name} has an adapter, and a head for it learns without another: leave "
            "'lora' out"
        )
    return RewardModeling(spec, card, card_dir, open_replies(spec.data, start), start)


class RewardModeling:
    """Fits a head, then trains an adapter with it where the configuration asks for one
    (``archon.train.trainer.Objective``; its steps are those of the adapter).
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
        learned, held_out = parted(replies.questions, spec.held_out, spec.seed)
        aside: list[str] = []
        if spec.lora is not None and replies.goal == "outcome":
            learned, aside = parted(learned, _ASIDE, spec.seed)
        if len(learned) < 2:
            apart = f"{len(held_out)} are held out" + (f", {len(aside)} set aside" if aside else "")
            raise UsageError(
                f"there are replies to {len(replies.questions)} questions, of which {apart}: to "
                "learn what is good takes at least two others"
            )
        self._learn, self._aside, self._held = map(replies.of, (learned, aside, held_out))
        check_learnable(self._learn)
        self._adapter: AdapterSteps | None = None

    @property
    def num_taken(self) -> int:
        """See ``Objective.num_taken``."""
        return 0 if self._adapter is None else len(self._adapter.steps.curve)

    def begin(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """Fit a head to the model as it is; writes head and card."""
        self._folder.write_record()  # from here on there is something to resume
        return self._probe(self._learn, self._held, on_progress)

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
        """Continue with the adapter; hidden states that were saved before it are not needed."""
        if progress.get("kind") == "adapter":
            self._adapter_steps().steps.optimization.restore(tensors, progress["curve"])

    def draw(self) -> None:
        """See ``Objective.draw``."""
        if self._adapter is not None:
            self._folder.draw_losses(self._spec.name, self._adapter.steps.curve)

    def _adapter_steps(self) -> AdapterSteps:
        """The adapter's training, opened once the head to begin with is fitted."""
        if self._adapter is None:
            head = read_reward_head(self._folder.path / REWARD)
            self._adapter = AdapterSteps(
                self._spec, self._card, self._card_dir, self._learn, head, self._start.device
            )
        return self._adapter

    # ---------------------------------------------------------------------------- frozen body

    def _probe(
        self, learn: ReplyDataset, held: ReplyDataset, on_progress: OnProgress
    ) -> dict[str, Any]:
        """Fit a head to the model as it is; writes head and card."""
        started = time.monotonic()
        with _opened(self._card, self._card_dir) as opened:
            both = (*learn.replies, *held.replies)
            hidden_NE = self._hidden(
                opened, replace(learn, replies=both), on_progress, resumable=True
            )
            digest, adapter = opened.digest, opened.adapter
        on_progress("fitting the head", 0, 1)
        num_learnt = len(learn.replies)
        learnt_NE, held_NE = hidden_NE[:num_learnt], hidden_NE[num_learnt:]
        probe = fit_probe(learnt_NE, learn, self._spec.penalties, self._spec.seed)
        weight_E, name = probe.weight_E.float(), self._card.name
        self._write(RewardHead(learn.goal, weight_E, probe.bias, name, digest, adapter))
        return {
            "questions": len(learn.questions),
            "replies": num_learnt,
            **({"pairs": len(learn.pairs)} if learn.pairs else {}),
            "penalty": probe.penalty,
            "fold_losses": [round(loss, 5) for loss in probe.fold_losses],
            "learnt": _report(probe, learnt_NE, learn),
            "before": _report(probe, held_NE, held),
            "probe_seconds": round(time.monotonic() - started, 1),
        }

    def _hidden(
        self,
        opened: OpenedDecoder,
        replies: ReplyDataset,
        on_progress: OnProgress,
        *,
        resumable: bool = False,
    ) -> Tensor:
        """The hidden state of each reply, in the basis of the model's file: (N, E)."""
        engine, file = opened.worker.engine, opened.file
        end, most = end_of_reply(opened.tokenizer_config), engine.context_length
        texts = tokenize_replies(replies, opened.chat, opened.tokenizer, end, most)
        all_that_counts = json.dumps([opened.digest, self._card.precision, texts])
        digest = hashlib.sha256(all_that_counts.encode()).hexdigest()
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
            for number, at in enumerate(range(len(rows), len(texts), _CHUNK), 1):
                on_progress("reading replies", at, len(texts))
                found = run_sync(read(texts[at : at + _CHUNK]))
                rows += hidden_in_file_basis(engine, file, torch.stack(found)).unbind()
                is_due = number % _SAVE_EVERY == 0 or len(rows) == len(texts)
                if resumable and (is_due or is_interrupted()):
                    self._folder.save_state({"hidden": torch.stack(rows)}, progress)
                if is_interrupted():
                    raise KeyboardInterrupt
        return torch.stack(rows)

    # --------------------------------------------------------------------------------- adapter

    def _adapt(self, on_progress: OnProgress) -> dict[str, Any]:
        """Write the trained adapter, and head and card anew."""
        adapter = self._adapter_steps()
        head = adapter.save(self._folder.path / ADAPTER)
        card = self._made_card() | {"adapter": f"./{ADAPTER}"}
        record: dict[str, Any] = {
            "trained_parameters": adapter.steps.optimization.num_trained,
            "too_long": adapter.num_left_out,
            "loss": adapter.steps.thinned_curve,
        }
        with _opened(LocalCard.model_validate(card), self._folder.path) as opened:
            if head.goal == "preference":
                head = self._anchored(opened, head, self._learn, on_progress)
            else:
                head, record["scaling"] = self._scaled(opened, head, self._aside, on_progress)
            head = replace(head, base_digest=opened.digest, adapter=opened.adapter)
            hidden_NE = self._hidden(opened, self._held, on_progress)
        self._write(head, adapter=f"./{ADAPTER}")
        probe = Probe(head.weight_E.double(), head.bias, 0.0, ())
        return record | {"after": _report(probe, hidden_NE, self._held)}

    def _anchored(
        self, opened: OpenedDecoder, head: RewardHead, learn: ReplyDataset, on_progress: OnProgress
    ) -> RewardHead:
        """The head by which an average reply has the logit 0."""
        count = min(_ANCHORS, len(learn.replies))
        some = Random(f"anchors/{self._spec.seed}").sample(learn.replies, count)
        probe = Probe(head.weight_E.double(), 0.0, 0.0, ())
        logit_N = probe.logits(
            self._hidden(opened, replace(learn, replies=tuple(some)), on_progress)
        )
        return replace(head, bias=-float(logit_N.mean()))

    def _scaled(
        self, opened: OpenedDecoder, head: RewardHead, aside: ReplyDataset, on_progress: OnProgress
    ) -> tuple[RewardHead, dict[str, Any]]:
        """The head with probabilities fitted to replies that it has not learned from, and what is
        recorded of the fit."""
        probe = Probe(head.weight_E.double(), head.bias, 0.0, ())
        logit_N = probe.logits(self._hidden(opened, aside, on_progress))
        slope, bias = platt_scaling(logit_N, aside.correct)
        scaled = replace(head, weight_E=slope * head.weight_E, bias=slope * head.bias + bias)
        fit = {"replies": len(aside.replies), "slope": round(slope, 4), "bias": round(bias, 4)}
        return scaled, fit

    # --------------------------------------------------------------------------------- folder

    def _write(self, head: RewardHead, **keys: str) -> None:
        write_reward_head(head, self._folder.path / REWARD)
        card = self._made_card() | keys | {"reward": f"./{REWARD}"}
        template = "conversation" if self._reads_conversations else "bare"
        self._folder.write_card(card | {"prompt": {"template": template}})

    def _made_card(self) -> dict[str, Any]:
        card = base_card(self._card, self._card_dir)
        card.pop("sampling", None)
        card.pop("prompt", None)
        return card | {"name": self._spec.name, "description": self._spec.description}


@contextmanager
def _opened(card: LocalCard, base_dir: Path) -> Iterator[OpenedDecoder]:
    """A card's decoder for as long as it is read with."""
    opened = open_decoder(card, base_dir)
    try:
        yield opened
    finally:
        release(opened.worker)


def _report(probe: Probe, hidden_NE: Tensor, replies: ReplyDataset) -> dict[str, Any]:
    rewards = probe.logits(hidden_NE).sigmoid().tolist()
    report = reward_metrics(rewards, replies)
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in report.items()}


def report(record: Mapping[str, Any]) -> Iterator[Line]:
    """The lines that the command prints when such a training is done."""
    learned = f"{record['replies']:,} replies to {record['questions']:,} questions"
    yield f"learned from {learned}", "bold"
    yield from left_out(record, "replies")
    yield from ((line, None) for line in _quality(record["after"]))


def _quality(after: Mapping[str, Any]) -> Iterator[str]:
    """How good the rewards of held-out replies are."""
    if "right" not in after:  # a reader's preferences
        yield (
            f"on {after['pairs']:,} held-out pairs: the chosen reply has the higher reward in "
            f"{percent(after['accuracy'])}"
        )
        return
    auc = "–" if after["auc"] is None else f"{after['auc']:.3f}"
    yield (
        f"on {after['replies']:,} replies to {after['questions']:,} held-out questions, of "
        f"which {percent(after['right'])} are right: area under the ROC curve {auc}"
    )
    if "brier" in after:
        yield (
            f"as probabilities: accuracy {percent(after['accuracy'])}, Brier score "
            f"{after['brier']:.3f}, calibration error {after['calibration_error']:.3f}"
        )
    if after["within_questions"] is not None:
        yield (
            "of a right and a wrong reply to one question, the right one has the higher reward in "
            f"{percent(after['within_questions'])}"
        )
    yield (
        f"the best of each question's replies is right in {percent(after['best_of_n'])}, one "
        f"at random in {percent(after['chance'])}, any in {percent(after['oracle'])}"
    )
    if "vote" in after:
        yield (
            f"a vote of each question's replies is right in {percent(after['vote'])}, "
            f"weighted by rewards in {percent(after['vote_by_score'])}, by their odds in "
            f"{percent(after['vote_by_odds'])}"
        )
