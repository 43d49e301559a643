"""Table of the kinds of training: command, help text and objective module.

The module does not import the rest of the package, so that ``archon --help`` stays fast. To add a
kind, write its spec in ``archon.spec.training``, its module in ``archon.train.objectives``, and a
row here.
"""

from __future__ import annotations

from dataclasses import dataclass

_CONFIG = "CONFIG is a name in the catalogue, or a path. The folder gets"


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
    """Whether the command has ``--device``."""


TRAININGS = {
    "sft": TrainingKind(
        "archon.train.objectives.sft",
        "Fine-tune a model on prompts and completions.",
        f"""Teach a model to answer as the completions of CONFIG do.

    {_CONFIG} the adapter or the model, a card that runs it, and the loss as a picture.
    """,
    ),
    "reward": TrainingKind(
        "archon.train.objectives.reward",
        "Teach a model to tell good replies.",
        f"""Teach a model to tell good replies from bad ones.

    {_CONFIG} the head (and the adapter, if one is trained), a card that runs it, and the replies
    that were sampled.
    """,
        has_device=False,  # the engine reads replies where the card's model runs
    ),
    "dpo": TrainingKind(
        "archon.train.objectives.dpo",
        "Learn from chosen and rejected replies.",
        f"""Make chosen replies likelier than rejected ones.

    {_CONFIG} the adapter or the model, a card that runs it, and the loss as a picture.
    """,
    ),
    "grpo": TrainingKind(
        "archon.train.objectives.reinforcement",
        "Learn from rewards, each reply beside its group.",
        f"""Learn from rewards for the model's own replies, each compared with its group.

    {_CONFIG} the adapter or the model, a card that runs it, and the reward as a picture.
    """,
    ),
    "ppo": TrainingKind(
        "archon.train.objectives.reinforcement",
        "Learn from rewards, with a value head.",
        f"""Learn from rewards for the model's own replies, with a value head.

    {_CONFIG} the adapter or the model, a card that runs it, and the reward as a picture.
    """,
    ),
    "classify": TrainingKind(
        "archon.train.objectives.classify",
        "Teach a new head on an encoder to tell classes.",
        f"""Put a new head on an encoder, and teach it the classes of CONFIG's texts.

    {_CONFIG} the model, in the form that transformers reads. Where the texts are pairs of two
    classes, of which one is known to be the good one, it also gets the card of a reward model.
    """,
    ),
    "pretrain": TrainingKind(
        "archon.train.objectives.pretrain",
        "Train a small decoder from nothing.",
        f"""Train a small decoder from nothing on the texts of CONFIG.

    {_CONFIG} the model, a card that runs it, and the loss as a picture.
    """,
    ),
}
"""Kinds by the ``training`` key of a configuration, in the order of the help."""
