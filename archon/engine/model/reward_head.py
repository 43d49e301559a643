"""Reward heads: a linear map from a decoder's last hidden state to the reward of a reply.

A decoder reads a conversation, a reply and the token that ends it. The head maps the normalised
output of the last layer for that token to one logit; the reward is its sigmoid. For an ``outcome``
head it is the probability that the reply is correct (Cobbe et al. 2021, arXiv 2110.14168), for a
``preference`` head the probability that it is preferred to an average reply (Bradley–Terry model:
Ouyang et al. 2022, arXiv 2203.02155). A head is a folder::

    reward_config.json          its goal, and the model that it was trained on
    reward_head.safetensors     weight (E,), bias (1,)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from archon.engine.files.addon import AddonFiles
from archon.errors import ModelFileError

CONFIG_NAME, TENSORS_NAME = "reward_config.json", "reward_head.safetensors"
FILES = AddonFiles("reward head", CONFIG_NAME, TENSORS_NAME)
Goal = Literal["outcome", "preference"]


@dataclass(frozen=True, slots=True)
class RewardHead:
    """Parameters of a reward head, and the model and adapter that it was trained with."""

    goal: Goal
    weight_E: Tensor
    """float32, in the basis of the model's file (not rotated)."""
    bias: float
    base: str
    """Name of the model whose hidden states it reads."""
    base_digest: str = ""
    """Digest of that model's weights; "" if unknown."""
    adapter: str = ""
    """Digest of the adapter that it was trained with; "" for none."""
    path: Path | None = None
    """Folder that it was read from, for error messages."""
    digest: str = ""
    """SHA-256 of its two files."""

    def reward(self, hidden_E: Tensor) -> float:
        """Return the reward of a reply, in (0, 1).

        The sum is correctly rounded, so equal hidden states always have equal rewards.

        Parameters
        ----------
        hidden_E
            The reply's hidden state, float32, in the basis of ``weight_E``.
        """
        logit = math.fsum((hidden_E.double() * self.weight_E.double()).tolist()) + self.bias
        odds = math.exp(-abs(logit))
        return 1 / (1 + odds) if logit >= 0 else odds / (1 + odds)


def read_reward_head(path: Path) -> RewardHead:
    """Read a reward head from its folder.

    Raises
    ------
    ModelFileError
        A file is missing or damaged, or does not describe a reward head.
    """
    config = _read_config(path)
    tensors = FILES.read_tensors(path)
    if tensors.keys() != {"weight", "bias"}:
        found = ", ".join(sorted(tensors)) or "none"
        raise ModelFileError(
            f"{path / TENSORS_NAME}: its tensors must be weight and bias, but they are: {found}"
        )
    weight_E, bias_1 = tensors["weight"].float(), tensors["bias"].double()
    if weight_E.dim() != 1 or bias_1.shape != (1,):
        raise ModelFileError(
            f"{path / TENSORS_NAME}: weight must be a vector, and bias a single number"
        )
    if not (weight_E.isfinite().all() and bias_1.isfinite().all()):
        raise ModelFileError(f"{path / TENSORS_NAME}: weight or bias is infinite or NaN")
    return RewardHead(
        goal=cast(Goal, config["goal"]),
        weight_E=weight_E,
        bias=float(bias_1),
        base=config["base_model"],
        base_digest=config["base_digest"],
        adapter=config["adapter_digest"],
        path=path,
        digest=FILES.digest(path),
    )


def write_reward_head(head: RewardHead, path: Path) -> None:
    """Write a reward head to a folder; each file is written atomically."""
    bias_1 = torch.tensor([head.bias], dtype=torch.float64)
    config = {
        "goal": head.goal,
        "base_model": head.base,
        "base_digest": head.base_digest,
        "adapter_digest": head.adapter,
    }
    FILES.write(path, config, {"weight": head.weight_E.float().contiguous(), "bias": bias_1})


def check_reward_head(head: RewardHead, width: int, model_digest: str, adapter: str) -> None:
    """Check that a head fits a model with an adapter.

    Parameters
    ----------
    width
        E of the model.
    model_digest
        Digest of the model's weights; "" if unknown.
    adapter
        Digest of the adapter; "" for none.

    Raises
    ------
    ModelFileError
        The head is for another model or another adapter.
    """
    if len(head.weight_E) != width:
        raise ModelFileError(
            f"{head.path}: the head's weight has {len(head.weight_E)} numbers, but the model's "
            f"width is {width}; the head was trained on {head.base}"
        )
    if head.base_digest and model_digest and head.base_digest != model_digest:
        raise ModelFileError(
            f"{head.path}: was trained on other weights: those of {head.base} with the digest "
            f"{head.base_digest[:12]}…, but this model's digest is {model_digest[:12]}…"
        )
    if head.adapter != adapter:
        how = (
            "with an adapter that the card does not have"
            if head.adapter
            else "without an adapter, but the card has one"
        )
        raise ModelFileError(f"{head.path}: was trained {how}")


def _read_config(path: Path) -> dict[str, Any]:
    config, file, goals = FILES.read_config(path), path / CONFIG_NAME, get_args(Goal)
    if config.get("goal") not in goals:
        raise ModelFileError(
            f"{file}: goal is {config.get('goal')!r}, not one of {', '.join(goals)}"
        )
    for key in ("base_model", "base_digest", "adapter_digest"):
        if not isinstance(config.get(key), str):
            raise ModelFileError(f"{file}: {key} is {config.get(key)!r}, not a string")
    return config
