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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from archon.engine.hidden_state import hidden_state, read_request
from archon.engine.loading import own_hidden
from archon.engine.reward_head import RewardHead, write_reward_head
from archon.errors import UsageError
from archon.graph.sync import run_sync
from archon.lm.concurrency import run_all
from archon.lm.local.opened import OpenedDecoder, open_decoder
from archon.lm.local.reward import end_of_reply
from archon.lm.local.sharing import leave
from archon.spec.model import LocalCard
from archon.spec.training import RewardSpec
from archon.train.base import base_card
from archon.train.folder import ADAPTER, REWARD, TrainingFolder
from archon.train.platt import platt_scaling
from archon.train.probe import Probe, check_learnable, fit_probe
from archon.train.replies import Replies, parted, with_goal
from archon.train.reply_tokens import token_ids
from archon.train.reward_lora import AdapterTraining
from archon.train.reward_report import reward_report
from archon.train.steps import OnProgress, gentle_interrupts

_CHUNK = 64
"""Replies that are read at once, between two looks at whether to stop."""
_SAVE_EVERY = 16
_ASIDE = 0.1
"""Share of the questions to learn from that an adapter does not see: probabilities are fitted to
their replies."""
_ANCHORS = 512
"""Replies whose mean logit is brought to 0 after an adapter has learnt preferences."""


@dataclass
class RewardRun:
    """One training of a reward model in its folder."""

    spec: RewardSpec
    card: LocalCard
    card_dir: Path
    replies: Replies
    folder: TrainingFolder
    on_progress: OnProgress

    def run(self) -> dict[str, Any]:
        """Do what is left to do; returns the folder's record.

        Raises
        ------
        UsageError : the card is none of a decoder that writes, the replies teach nothing, they
            do not fit the goal or are not those that training began with, or a conversation
            does not fit the model's context.
        ModelError : the weights cannot be had or run.
        KeyboardInterrupt : after the work that was under way; what is done is saved.
        StorageError : the disk does not take the state.
        """
        card, spec = self.card, self.spec
        if card.transformer != "decoder" or card.reward is not None:
            raise UsageError(f"{card.name} is no decoder that writes, which alone can get a head")
        if card.adapter is not None and spec.lora is not None:
            raise UsageError(
                f"{card.name} has an adapter, and a head for it learns without another: leave "
                "'lora' out"
            )
        replies = with_goal(self.replies, spec.goal, spec.seed)
        learnt, held_out = parted(replies.questions, spec.held_out, spec.seed)
        aside: list[str] = []
        if spec.lora is not None and replies.goal == "outcome":
            learnt, aside = parted(learnt, _ASIDE, spec.seed)
        learn, held = replies.of(learnt), replies.of(held_out)
        if len(learnt) < 2:
            apart = f"{len(held_out)} are held out" + (f", {len(aside)} set aside" if aside else "")
            raise UsageError(
                f"there are replies to {len(replies.questions)} questions, of which {apart}: to "
                "learn what is good takes at least two others"
            )
        check_learnable(learn)
        self.folder.keep_data(replies)
        record = self.folder.record
        self.folder.write_record()  # from here on there is something to resume
        if "before" not in record:
            record |= self._probe(learn, held)
            if spec.lora is None:
                record["after"] = record["before"]
            self.folder.write_record()
        if spec.lora is not None and "after" not in record:
            record["after"] = self._adapt(learn, replies.of(aside), held)
            self.folder.write_record()
        self.folder.drop_state()
        return record

    # ---------------------------------------------------------------------------- frozen body

    def _probe(self, learn: Replies, held: Replies) -> dict[str, Any]:
        """Fit a head to the model as it is; writes head and card."""
        started = time.monotonic()
        with _opened(self.card, self.card_dir) as opened:
            both = (*learn.replies, *held.replies)
            hidden_NE = self._hidden(opened, replace(learn, replies=both), resumable=True)
            digest, adapter = opened.digest, opened.adapter
        self.on_progress("fitting the head", 0, 1)
        num_learnt = len(learn.replies)
        learnt_NE, held_NE = hidden_NE[:num_learnt], hidden_NE[num_learnt:]
        probe = fit_probe(learnt_NE, learn, self.spec.penalties, self.spec.seed)
        weight_E, name = probe.weight_E.float(), self.card.name
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
        self, opened: OpenedDecoder, replies: Replies, *, resumable: bool = False
    ) -> Tensor:
        """The hidden state of each reply, in the basis of the model's file: (N, E)."""
        engine, file = opened.worker.engine, opened.file
        end, most = end_of_reply(opened.rules), engine.context_length
        texts = token_ids(replies, opened.chat, opened.tokenizer, end, most)
        all_that_counts = json.dumps([opened.digest, self.card.precision, texts])
        digest = hashlib.sha256(all_that_counts.encode()).hexdigest()
        progress = {"kind": "hidden", "of": digest}
        saved = self.folder.read_state() if resumable else None
        rows: list[Tensor] = []
        if saved is not None and saved[1] == progress:
            rows += saved[0]["hidden"].unbind()

        async def read(chunk: Sequence[tuple[int, ...]]) -> list[Tensor]:
            requests = (read_request(ids, opened.adapter) for ids in chunk)
            found = await run_all(opened.worker.generate(request) for request in requests)
            return [hidden_state(generation) for [generation] in found]

        with gentle_interrupts() as is_interrupted:
            for number, at in enumerate(range(len(rows), len(texts), _CHUNK), 1):
                self.on_progress("reading replies", at, len(texts))
                found = run_sync(read(texts[at : at + _CHUNK]))
                rows += own_hidden(engine, file, torch.stack(found)).unbind()
                is_due = number % _SAVE_EVERY == 0 or len(rows) == len(texts)
                if resumable and (is_due or is_interrupted()):
                    self.folder.save_state({"hidden": torch.stack(rows)}, progress)
                if is_interrupted():
                    raise KeyboardInterrupt
        return torch.stack(rows)

    # --------------------------------------------------------------------------------- adapter

    def _adapt(self, learn: Replies, aside: Replies, held: Replies) -> dict[str, Any]:
        """Train an adapter with the head; writes adapter, head and card anew."""
        training = AdapterTraining(
            self.spec, self.card, self.card_dir, learn, self.folder, self.on_progress
        )
        head = training.run()
        card = self._card() | {"adapter": f"./{ADAPTER}"}
        with _opened(LocalCard.model_validate(card), self.folder.path) as opened:
            if head.goal == "preference":
                head = self._anchored(opened, head, learn)
            else:
                head = self._scaled(opened, head, aside)
            head = replace(head, base_digest=opened.digest, adapter=opened.adapter)
            hidden_NE = self._hidden(opened, held)
        self._write(head, adapter=f"./{ADAPTER}")
        probe = Probe(head.weight_E.double(), head.bias, 0.0, ())
        return _report(probe, hidden_NE, held)

    def _anchored(self, opened: OpenedDecoder, head: RewardHead, learn: Replies) -> RewardHead:
        """The head by which an average reply has the logit 0."""
        count = min(_ANCHORS, len(learn.replies))
        some = Random(f"anchors/{self.spec.seed}").sample(learn.replies, count)
        probe = Probe(head.weight_E.double(), 0.0, 0.0, ())
        logit_N = probe.logits(self._hidden(opened, replace(learn, replies=tuple(some))))
        return replace(head, bias=-float(logit_N.mean()))

    def _scaled(self, opened: OpenedDecoder, head: RewardHead, aside: Replies) -> RewardHead:
        """The head whose probabilities are those of replies that it has not learnt from."""
        probe = Probe(head.weight_E.double(), head.bias, 0.0, ())
        logit_N = probe.logits(self._hidden(opened, aside))
        slope, bias = platt_scaling(logit_N, aside.correct)
        self.folder.record["scaling"] = {
            "replies": len(aside.replies), "slope": round(slope, 4), "bias": round(bias, 4)
        }  # fmt: skip
        return replace(head, weight_E=slope * head.weight_E, bias=slope * head.bias + bias)

    # --------------------------------------------------------------------------------- folder

    def _write(self, head: RewardHead, **keys: str) -> None:
        write_reward_head(head, self.folder.path / REWARD)
        card = self._card() | keys | {"reward": f"./{REWARD}"}
        template = "conversation" if self.replies.reads_conversations else "bare"
        self.folder.write_card(card | {"prompt": {"template": template}})

    def _card(self) -> dict[str, Any]:
        card = base_card(self.card, self.card_dir)
        card.pop("sampling", None)
        card.pop("prompt", None)
        return card | {"name": self.spec.name, "description": self.spec.description}


@contextmanager
def _opened(card: LocalCard, base_dir: Path) -> Iterator[OpenedDecoder]:
    """A card's decoder for as long as it is read with."""
    opened = open_decoder(card, base_dir)
    try:
        yield opened
    finally:
        leave(opened.worker)


def _report(probe: Probe, hidden_NE: Tensor, replies: Replies) -> dict[str, Any]:
    rewards = probe.logits(hidden_NE).sigmoid().tolist()
    report = reward_report(rewards, replies)
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in report.items()}
