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
    """A head's parameters, and what it was trained on."""

    goal: Goal
    weight_E: Tensor
    """float32, in the basis of the model's file."""
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

        The sum is exact, so that equal hidden states have equal rewards.

        Parameters
        ----------
        hidden_E
            The reply's hidden state, float32, in the basis of ``weight_E``.
        """
        logit = math.fsum((hidden_E.double() * self.weight_E.double()).tolist()) + self.bias
        odds = math.exp(-abs(logit))
        return 1 / (1 + odds) if logit >= 0 else odds / (1 + odds)


def read_reward_head(path: Path) -> RewardHead:
    """Read a head's folder.

    Raises
    ------
    ModelFileError
        A file is missing or damaged, or is not that of a reward head.
    """
    config = _read_config(path)
    tensors = FILES.read_tensors(path)
    if tensors.keys() != {"weight", "bias"}:
        found = ", ".join(sorted(tensors)) or "nothing"
        raise ModelFileError(f"{path / TENSORS_NAME}: has {found}, not weight and bias")
    weight_E, bias_1 = tensors["weight"].float(), tensors["bias"].double()
    if weight_E.dim() != 1 or bias_1.shape != (1,):
        raise ModelFileError(f"{path / TENSORS_NAME}: weight must be a vector, bias one number")
    if not (weight_E.isfinite().all() and bias_1.isfinite().all()):
        raise ModelFileError(f"{path / TENSORS_NAME}: has numbers that are not finite")
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
    """Write a head's folder; each file is written atomically."""
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
            f"{head.path}: reads {len(head.weight_E)} numbers, but the model's width is {width}; "
            f"the head is for {head.base}"
        )
    if head.base_digest and model_digest and head.base_digest != model_digest:
        raise ModelFileError(
            f"{head.path}: was trained on other weights: those of {head.base} with the digest "
            f"{head.base_digest[:12]}…, not {model_digest[:12]}…"
        )
    if head.adapter != adapter:
        how = "with an adapter that is not the card's" if head.adapter else "without an adapter"
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
