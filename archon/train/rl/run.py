"""Learning from rewards from the first step to the last: saved on the way, resumed, interrupted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from archon.reasoning import opened_by, split_reasoning
from archon.train.folder import TrainingFolder
from archon.train.order import rounds
from archon.train.rl.learner import Learner
from archon.train.rl.prepare import PreparedRL
from archon.train.rl.questions import RLSpec
from archon.train.rl.rewards import Task, rewards_of
from archon.train.rl.rollouts import Rollout, draw
from archon.train.steps import OnStep, take_steps

_TAIL = 64
"""Tokens at the end of a prompt among which a start marker of reasoning is looked for."""
_SHOWN = 3
"""Held-out replies that are kept in words."""
_KEPT_STEPS = 50
"""Steps that the record tells of; the picture has them all."""


@dataclass
class RLRun:
    """One training in its folder."""

    spec: RLSpec
    prepared: PreparedRL
    folder: TrainingFolder
    device: torch.device
    on_step: OnStep | None = None
    told: list[dict[str, float]] = field(default_factory=list)
    """What each step so far was like."""

    def run(self) -> dict[str, Any]:
        """Take the steps that are left; returns the folder's record.

        Its rewards after training are those of the weights before they are written: what is trained
        in bf16 was not yet rounded to it.

        Raises
        ------
        KeyboardInterrupt : after the step that was under way; the state is saved.
        UsageError : the loss is no number any more, or the questions are not those that training
            began with.
        ScoringError, LMError : a reply cannot be judged.
        StorageError : the disk does not take the state.
        """
        spec, record = self.spec, self.folder.record
        asked = (self.prepared.tasks, self.prepared.held_out)
        self.folder.keep_data([[(task.messages, task.target) for task in part] for part in asked])
        learner = Learner(self.prepared.model, spec, self.device)
        saved = self.folder.read_state()
        if saved is not None:
            tensors, progress = saved
            learner.restore(tensors, progress["losses"])
            self.told = progress["steps"]
        else:
            record |= {
                "parameters": sum(p.numel() for p in learner.model.parameters()),
                "trained_parameters": learner.policy.num_trained,
                "questions": len(self.prepared.tasks),
                "too_long": self.prepared.num_too_long,
                "train_seconds": 0.0,
                "before": self._measure(),
            }
            self.folder.write_record()
        self._steps(learner)
        every = max(spec.steps // _KEPT_STEPS, 1)
        last = [told["reward"] for told in self.told[-20:]]
        record |= {
            "last_reward": sum(last) / len(last),
            "steps": [{k: round(v, 5) for k, v in t.items()} for t in self.told[::every]],
            "after": self._measure(),
        }
        self.folder.write_card(self.prepared.save(self.folder.path))
        self.folder.write_record()
        self._draw()
        self.folder.drop_state()
        return record

    def _steps(self, learner: Learner) -> None:
        spec, record = self.spec, self.folder.record
        order = rounds(self.prepared.tasks, f"questions/{spec.seed}")
        stream = islice(chain.from_iterable(order), len(self.told) * spec.prompts, None)
        started, before = time.monotonic(), record["train_seconds"]

        def take(step: int) -> float:
            begun = time.monotonic()
            tasks = list(islice(stream, spec.prompts))
            groups = self._replies(tasks, spec.group, spec.temperature, step)
            reward_PG = self._rewards(tasks, groups).to(self.device)
            drawn = time.monotonic()
            told = learner.learn(step, groups, reward_PG)
            now = time.monotonic()
            self.told.append(told | {"draw_seconds": drawn - begun, "learn_seconds": now - drawn})
            return told["reward"]

        def save() -> None:
            record["train_seconds"] = round(before + time.monotonic() - started, 1)
            tensors, losses = learner.state()
            self.folder.save_state(tensors, {"losses": losses, "steps": self.told})
            self.folder.write_record()
            self._draw()

        take_steps(range(len(self.told), spec.steps), take, save, spec.save_every, self.on_step)

    def _replies(
        self, tasks: Sequence[Task], group: int, temperature: float, step: int
    ) -> list[list[Rollout]]:
        return draw(
            self.prepared.policy,
            [task.prompt_ids for task in tasks],
            group,
            temperature=temperature,
            max_tokens=self.spec.max_tokens,
            stop_ids=self.prepared.stop_ids,
            seed=self.spec.seed * 1_000_003 + step,
        )

    def _rewards(self, tasks: Sequence[Task], groups: Sequence[Sequence[Rollout]]) -> Tensor:
        """(P, G)"""
        return torch.tensor(
            [
                rewards_of(self.prepared.reward, task, [self._answer(task, r) for r in group])
                for task, group in zip(tasks, groups, strict=True)
            ]
        )

    def _answer(self, task: Task, rollout: Rollout) -> str:
        """What is rewarded of a reply: not what it reasoned before."""
        markers = self.prepared.reasoning_markers
        end_of_prompt = self.prepared.decode(task.prompt_ids[-_TAIL:])
        is_open = True if opened_by(end_of_prompt, markers) else None
        return split_reasoning(self._text(rollout), markers, is_open=is_open).answer

    def _text(self, rollout: Rollout) -> str:
        """The reply in words; the token that ends it is none."""
        ids = rollout.reply_ids
        return self.prepared.decode(ids[:-1] if rollout.is_ended else ids)

    def _measure(self) -> dict[str, Any]:
        """The mean reward of greedy replies to what is held out, and a few of them."""
        tasks = self.prepared.held_out
        if not tasks:
            return {}
        self.prepared.model.eval()
        groups = self._replies(tasks, 1, 0, 0)
        rewards = self._rewards(tasks, groups)[:, 0].tolist()
        return {
            "held_out_reward": sum(rewards) / len(rewards),
            "num_held_out": len(tasks),
            "samples": [
                {
                    "shown": task.messages[-1].content,
                    "said": self._text(group[0]),
                    "reward": reward,
                }
                for task, group, reward in list(zip(tasks, groups, rewards, strict=True))[:_SHOWN]
            ],
        }

    def _draw(self) -> None:
        record = self.folder.record
        held_out = {
            steps: record[when]["held_out_reward"]
            for when, steps in (("before", 0), ("after", self.spec.steps))
            if record.get(when)
        }
        curve = [told["reward"] for told in self.told]
        self.folder.draw_reward(self.spec.name, curve, held_out)
