"""The kinds of training, with command, help text and objective module.

This module does not import any other module of the package, so that ``archon --help`` is fast. To
add a kind of training, write its spec in ``archon.spec.training``, its module in
``archon.train.objectives``, and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingKind:
    """One command of ``archon train``."""

    module: str
    """Full name of the objective's module (``archon.train.objectives``)."""
    summary: str
    """First paragraph of the command's help text."""
    results: str
    """Files in the output folder, for the sentence "The output folder contains …" in the help."""
    has_device: bool = True
    """True if the command has the ``--device`` option."""


TRAININGS = {
    "sft": TrainingKind(
        "archon.train.objectives.sft",
        "Fine-tune a model on prompts and completions.",
        "the adapter or the model, a model card, and a plot of the loss",
    ),
    "reward": TrainingKind(
        "archon.train.objectives.reward",
        "Train a reward head on good and bad replies.",
        "the reward head, the adapter if one is trained, a model card, and the sampled replies",
        has_device=False,  # the engine reads replies where the card's model runs
    ),
    "dpo": TrainingKind(
        "archon.train.objectives.dpo",
        "Train a model to prefer chosen replies over rejected ones.",
        "the adapter or the model, a model card, and a plot of the loss",
    ),
    "grpo": TrainingKind(
        "archon.train.objectives.reinforcement",
        "Train a model with GRPO: rewards of replies relative to their group.",
        "the adapter or the model, a model card, and a plot of the reward",
    ),
    "ppo": TrainingKind(
        "archon.train.objectives.reinforcement",
        "Train a model with PPO, using a value head.",
        "the adapter or the model, a model card, and a plot of the reward",
    ),
    "classify": TrainingKind(
        "archon.train.objectives.classify",
        "Train an encoder to classify texts.",
        "the model in transformers format. If the data are text pairs with two labels and `good` "
        "is set, it will also contain a reward-model card",
    ),
    "pretrain": TrainingKind(
        "archon.train.objectives.pretrain",
        "Pretrain a small decoder from scratch.",
        "the model, a model card, and a plot of the loss",
    ),
}
"""Value of ``training`` in a configuration → kind of training, in help order."""
