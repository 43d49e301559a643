"""Table of the kinds of training: command, help text and objective module.

The module does not import the rest of the package, so that ``archon --help`` stays fast. To add a
kind, write its spec in ``archon.spec.training``, its module in ``archon.train.objectives``, and a
row here.
"""

from __future__ import annotations

from dataclasses import dataclass

_CONFIG = "CONFIG is the name of a training in the catalogue, or a path. The output folder gets"


@dataclass(frozen=True, slots=True)
class TrainingKind:
    """One command of ``archon train``."""

    module: str
    """Full name of the objective's module (``archon.train.objectives``)."""
    summary: str
    """Description in ``archon train --help``."""
    help: str
    """Description in ``archon train VERB --help``."""
    has_device: bool = True
    """True if the command has ``--device``."""


TRAININGS = {
    "sft": TrainingKind(
        "archon.train.objectives.sft",
        "Fine-tune a model on prompts and completions.",
        f"""Fine-tune a model on the prompts and completions of CONFIG.

    {_CONFIG} the adapter or the model, a card that runs it, and a plot of the loss.
    """,
    ),
    "reward": TrainingKind(
        "archon.train.objectives.reward",
        "Train a reward model on judged or compared replies.",
        f"""Train a reward head, and optionally an adapter, on judged or compared replies.

    {_CONFIG} the head, the adapter if one is trained, a card that runs them, and the replies if
    they were sampled.
    """,
        has_device=False,  # the engine reads replies where the card's model runs
    ),
    "dpo": TrainingKind(
        "archon.train.objectives.dpo",
        "Fine-tune a model on chosen and rejected replies (DPO).",
        f"""Make chosen replies likelier than rejected ones (direct preference optimization).

    {_CONFIG} the adapter or the model, a card that runs it, and a plot of the loss.
    """,
    ),
    "grpo": TrainingKind(
        "archon.train.objectives.reinforcement",
        "Reinforcement learning: compare each reply with its group (GRPO).",
        f"""Learn from rewards for the model's own replies, each compared with its group (GRPO).

    {_CONFIG} the adapter or the model, a card that runs it, and a plot of the reward.
    """,
    ),
    "ppo": TrainingKind(
        "archon.train.objectives.reinforcement",
        "Reinforcement learning with a value head (PPO).",
        f"""Learn from rewards for the model's own replies, with a value head (PPO).

    {_CONFIG} the adapter or the model, a card that runs it, and a plot of the reward.
    """,
    ),
    "classify": TrainingKind(
        "archon.train.objectives.classify",
        "Train a classification head on an encoder.",
        f"""Train a new classification head on an encoder, on the labelled texts of CONFIG.

    {_CONFIG} the model, in the format of transformers. If the texts are pairs in two classes and
    the good class is known, the folder also gets the card of a reward model.
    """,
    ),
    "pretrain": TrainingKind(
        "archon.train.objectives.pretrain",
        "Train a small decoder from scratch.",
        f"""Train a small decoder from scratch on the texts of CONFIG.

    {_CONFIG} the model, a card that runs it, and a plot of the loss.
    """,
    ),
}
"""Kinds by the ``training`` key of a configuration, in the order of the help."""
