"""Reinforcement learning: a model learns from rewards for its own replies, by GRPO or PPO."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from archon.reasoning import opened_by, split_reasoning
from archon.train.folder import TrainingFolder
from archon.train.report_lines import Line, headline, samples
from archon.train.rl.learner import Learner
from archon.train.rl.rewards import rewards_of
from archon.train.rl.rollouts import Rollout, sample_rollouts
from archon.train.rl.setup import RLSetup, set_up
from archon.train.rl.tasks import RLSpec, RLTask
from archon.train.splits import rounds
from archon.train.trainer import OnProgress, Start, State

_TAIL = 64
"""Tokens at the end of a prompt among which a start marker of reasoning is looked for."""
_SHOWN = 3
"""Held-out replies that the record keeps as text."""
_KEPT_STEPS = 50
"""Steps that the record describes; the picture has them all."""


def open_objective(spec: RLSpec, start: Start) -> Reinforcement:
    """Load the card's model, the questions and what judges the replies.

    Raises
    ------
    SpecError, ModelError, UsageError
        See ``set_up``.
    """
    card, card_dir = start.pull_card(spec.model)
    setup = set_up(spec, card, start.base_dir, card_dir, start.device)
    return Reinforcement(spec, setup, start.folder, start.device)


class Reinforcement:
    """Makes better replies likelier (``archon.train.trainer.Objective``).

    Rewards after training are those of the weights before they are written: weights that are
    trained in bf16 are not rounded to it yet.
    """

    unit = "reward"

    def __init__(
        self, spec: RLSpec, setup: RLSetup, folder: TrainingFolder, device: torch.device
    ) -> None:
        self.num_steps, self.save_every = spec.steps, spec.save_every
        self.data = [
            [(task.messages, task.target) for task in part]
            for part in (setup.tasks, setup.held_out)
        ]
        self._spec, self._setup, self._folder, self._device = spec, setup, folder, device
        self._learner = Learner(setup.model, spec, device)
        self._figures: list[dict[str, float]] = []
        """Figures of each step that was taken."""
        self._left: Iterator[RLTask] | None = None

    @property
    def num_taken(self) -> int:
        """See ``Objective.num_taken``."""
        return len(self._figures)

    def begin(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """See ``Objective.begin``."""
        return {
            "parameters": sum(p.numel() for p in self._learner.model.parameters()),
            "trained_parameters": self._learner.policy.num_trained,
            "questions": len(self._setup.tasks),
            "too_long": self._setup.num_too_long,
            "train_seconds": 0.0,
            "before": self._measure(),
        }

    def step(self, step: int) -> float:
        """See ``Objective.step``."""
        spec, started = self._spec, time.monotonic()
        if self._left is None:
            order = rounds(self._setup.tasks, f"questions/{spec.seed}")
            self._left = islice(chain.from_iterable(order), step * spec.prompts, None)
        tasks = list(islice(self._left, spec.prompts))
        groups = self._replies(tasks, spec.group, spec.temperature, step)
        reward_PG = self._rewards(tasks, groups).to(self._device)
        drawn = time.monotonic()
        figures = self._learner.learn(step, groups, reward_PG)
        now = time.monotonic()
        self._figures.append(
            figures | {"draw_seconds": drawn - started, "learn_seconds": now - drawn}
        )
        return figures["reward"]

    def end(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """See ``Objective.end``."""
        every = max(self._spec.steps // _KEPT_STEPS, 1)
        last = [figures["reward"] for figures in self._figures[-20:]]
        after = self._measure()
        self._folder.write_card(self._setup.save(self._folder.path))
        return {
            "last_reward": sum(last) / len(last),
            "steps": [
                {k: round(v, 5) for k, v in figures.items()} for figures in self._figures[::every]
            ],
            "after": after,
        }

    def state(self) -> State:
        """See ``Objective.state``."""
        tensors, losses = self._learner.state()
        return tensors, {"losses": losses, "steps": self._figures}

    def restore(self, tensors: Mapping[str, Tensor], progress: Any) -> None:
        """See ``Objective.restore``."""
        self._learner.restore(tensors, progress["losses"])
        self._figures = progress["steps"]

    def draw(self) -> None:
        """See ``Objective.draw``."""
        self._folder.draw_rewards(self._spec.name, [figures["reward"] for figures in self._figures])

    def _replies(
        self, tasks: Sequence[RLTask], group: int, temperature: float, step: int
    ) -> list[list[Rollout]]:
        return sample_rollouts(
            self._setup.policy,
            [task.prompt_ids for task in tasks],
            group,
            temperature=temperature,
            max_tokens=self._spec.max_tokens,
            stop_ids=self._setup.stop_ids,
            seed=self._spec.seed * 1_000_003 + step,
        )

    def _rewards(self, tasks: Sequence[RLTask], groups: Sequence[Sequence[Rollout]]) -> Tensor:
        """(P, G)"""
        return torch.tensor(
            [
                rewards_of(self._setup.reward, task, [self._answer(task, r) for r in group])
                for task, group in zip(tasks, groups, strict=True)
            ]
        )

    def _answer(self, task: RLTask, rollout: Rollout) -> str:
        """What is rewarded of a reply: not the reasoning before its answer."""
        markers = self._setup.reasoning_markers
        end_of_prompt = self._setup.decode(task.prompt_ids[-_TAIL:])
        is_open = True if opened_by(end_of_prompt, markers) else None
        return split_reasoning(self._text(rollout), markers, is_open=is_open).answer

    def _text(self, rollout: Rollout) -> str:
        """The reply as text, without the token that ends it."""
        ids = rollout.reply_ids
        return self._setup.decode(ids[:-1] if rollout.is_ended else ids)

    def _measure(self) -> dict[str, Any]:
        """The mean reward of greedy replies to held-out questions, and a few of the replies."""
        tasks = self._setup.held_out
        if not tasks:
            return {}
        self._setup.model.eval()
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


def report(record: Mapping[str, Any]) -> Iterator[Line]:
    """The lines that the command prints when such a training is done."""
    yield headline(record, "its own replies")
    if record["too_long"]:
        yield f"{record['too_long']:,} questions do not fit a row and were left out", "yellow"
    before, after = record["before"], record["after"]
    if after:
        rewards = f"{before['held_out_reward']:.3f} → {after['held_out_reward']:.3f}"
        count = after["num_held_out"]
        yield f"mean reward of greedy replies to {count} held-out prompts: {rewards}", None
    yield from samples(record)
