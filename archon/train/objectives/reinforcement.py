"""Reinforcement learning: train a model on rewards for its own replies, with GRPO or PPO.

The parts of a step are in ``archon.train.rl``.

Shape suffixes: P prompts of a step, G replies to each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from archon.reasoning import opened_by, split_reasoning
from archon.train.folder import TrainingFolder
from archon.train.report_lines import Line, headline, left_out, samples
from archon.train.rl.learner import Learner
from archon.train.rl.rewards import rewards_of
from archon.train.rl.rollouts import Rollout, sample_rollouts
from archon.train.rl.setup import RLSetup, set_up
from archon.train.rl.tasks import RLSpec, RLTask
from archon.train.splits import batches
from archon.train.trainer import OnProgress, Start, State

_TAIL = 64
"""Number of tokens at the end of a prompt in which a start marker of reasoning is looked for."""
_SHOWN = 3
"""Maximum number of held-out replies whose text is recorded."""
_RECORDED_STEPS = 50
"""Approximate number of steps whose metrics are recorded; the plot shows all steps."""


def open_objective(spec: RLSpec, start: Start) -> Reinforcement:
    """Load the card's model, the questions and the reward.

    Raises
    ------
    SpecError, ModelError, UsageError
        See ``set_up``.
    """
    card, card_dir = start.pull_card(spec.model)
    setup = set_up(spec, card, start.base_dir, card_dir, start.device)
    return Reinforcement(spec, setup, start.folder, start.device)


class Reinforcement:
    """Objective of reinforcement learning (``archon.train.trainer.Objective``).

    The final held-out rewards are measured before the weights are saved, because saving may round
    the weights to bf16.
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
        self._metrics: list[dict[str, float]] = []
        """Name → metric values of the steps taken so far."""
        self._batches: Iterator[list[RLTask]] | None = None

    @property
    def curve(self) -> list[float]:
        """See ``Objective.curve``."""
        return [metrics["reward"] for metrics in self._metrics]

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
        if self._batches is None:
            self._batches = batches(
                self._setup.tasks, spec.prompts, f"questions/{spec.seed}", num_skipped=step
            )
        tasks = next(self._batches)
        groups = self._replies(tasks, spec.group, spec.temperature, step)
        reward_PG = self._rewards(tasks, groups).to(self._device)
        sampled = time.monotonic()
        metrics = self._learner.learn(step, groups, reward_PG)
        seconds = {"draw_seconds": sampled - started, "learn_seconds": time.monotonic() - sampled}
        self._metrics.append(metrics | seconds)
        return metrics["reward"]

    def end(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """See ``Objective.end``."""
        stride = max(self._spec.steps // _RECORDED_STEPS, 1)
        last = self.curve[-20:]
        after = self._measure()
        self._folder.write_card(self._setup.save(self._folder.path))
        return {
            "last_reward": sum(last) / len(last),
            "steps": [
                {k: round(v, 5) for k, v in metrics.items()} for metrics in self._metrics[::stride]
            ],
            "after": after,
        }

    def state(self) -> State:
        """See ``Objective.state``."""
        tensors, losses = self._learner.state()
        return tensors, {"losses": losses, "steps": self._metrics}

    def restore(self, tensors: Mapping[str, Tensor], progress: Any) -> None:
        """See ``Objective.restore``."""
        self._learner.restore(tensors, progress["losses"])
        self._metrics = progress["steps"]

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
        """Return the reward of each reply: (P, G)."""
        return torch.tensor(
            [
                rewards_of(self._setup.reward, task, [self._answer(task, r) for r in group])
                for task, group in zip(tasks, groups, strict=True)
            ]
        )

    def _answer(self, task: RLTask, rollout: Rollout) -> str:
        """Return the text of a reply without its reasoning; this is the text that is rewarded."""
        markers = self._setup.reasoning.markers
        end_of_prompt = self._setup.reasoning.decode(task.prompt_ids[-_TAIL:])
        is_open = True if opened_by(end_of_prompt, markers) else None
        return split_reasoning(self._text(rollout), markers, is_open=is_open).answer

    def _text(self, rollout: Rollout) -> str:
        """Return the text of a reply without its end token."""
        ids = rollout.reply_ids
        return self._setup.reasoning.decode(ids[:-1] if rollout.is_ended else ids)

    def _measure(self) -> dict[str, Any]:
        """Return the mean reward of greedy replies to held-out questions, and a few replies."""
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
    """Yield the lines that the command prints after training."""
    yield headline(record, "its own replies")
    yield from left_out(record, "questions")
    before, after = record["before"], record["after"]
    if after:
        rewards = f"{before['held_out_reward']:.3f} → {after['held_out_reward']:.3f}"
        count = after["num_held_out"]
        yield f"mean reward of greedy replies to {count:,} held-out prompts: {rewards}", None
    yield from samples(record)
