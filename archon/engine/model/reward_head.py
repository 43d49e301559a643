"""Reward heads: a linear map from a decoder's last hidden state to how good a reply is.

A decoder reads a conversation, a reply and the token that ends it; the normalised output of its
last layer for that token holds what it makes of the whole. The head adds it up to one logit, the
sigmoid of which is the reward: of ``outcome`` heads the probability that the reply is right (Cobbe
et al. 2021, arXiv 2110.14168), of ``preference`` heads that it is preferred to an average one
(Bradley–Terry; Ouyang et al. 2022, arXiv 2203.02155). They lie in a folder::

    reward_config.json          what it is, and which model it reads
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
    """A head's numbers, and what it was trained on."""

    goal: Goal
    weight_E: Tensor
    """Reads the decoder's normalised output as the model's own file has it, in float32."""
    bias: float
    base: str
    """Name of the model that it reads."""
    base_digest: str = ""
    """Digest of that model's weights; "" where they have none."""
    adapter: str = ""
    """Digest of the adapter that it was trained with; "" for none."""
    path: Path | None = None
    """Where it was read, for messages."""
    digest: str = ""
    """SHA-256 of its two files."""

    def reward(self, hidden_E: Tensor) -> float:
        """The reward of a reply by its hidden state, in float32 and in the basis of the weight.

        The sum is exact, so that equal states have equal rewards.
        """
        logit = math.fsum((hidden_E.double() * self.weight_E.double()).tolist()) + self.bias
        odds = math.exp(-abs(logit))
        return 1 / (1 + odds) if logit >= 0 else odds / (1 + odds)


def read_reward_head(path: Path) -> RewardHead:
    """Read a head's folder.

    Raises
    ------
    ModelFileError
        A file is missing or damaged, or says something that no head is.
    """
    config = _read_config(path)
    tensors = FILES.read_tensors(path)
    if tensors.keys() != {"weight", "bias"}:
        found = ", ".join(sorted(tensors)) or "nothing"
        raise ModelFileError(f"{path / TENSORS_NAME}: holds {found}, not weight and bias")
    weight_E, bias_1 = tensors["weight"].float(), tensors["bias"].double()
    if weight_E.dim() != 1 or bias_1.shape != (1,):
        raise ModelFileError(f"{path / TENSORS_NAME}: weight and bias are no vector and one number")
    if not (weight_E.isfinite().all() and bias_1.isfinite().all()):
        raise ModelFileError(f"{path / TENSORS_NAME}: holds what is no finite number")
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
    """Write a head's folder, each file whole or not at all."""
    bias_1 = torch.tensor([head.bias], dtype=torch.float64)
    config = {
        "goal": head.goal,
        "base_model": head.base,
        "base_digest": head.base_digest,
        "adapter_digest": head.adapter,
    }
    FILES.write(path, config, {"weight": head.weight_E.float().contiguous(), "bias": bias_1})


def check_reward_head(head: RewardHead, width: int, model_digest: str, adapter: str) -> None:
    """See that a head is for this model, run with this adapter.

    Parameters
    ----------
    width
        Of the model.
    model_digest
        Of its weights; "" where they have none.
    adapter
        Digest of the adapter that is run; "" for none.

    Raises
    ------
    ModelFileError
        It is for another.
    """
    if len(head.weight_E) != width:
        raise ModelFileError(
            f"{head.path}: reads {len(head.weight_E)} numbers, but the model's width is {width}; "
            f"the head is for {head.base}"
        )
    if head.base_digest and model_digest and head.base_digest != model_digest:
        raise ModelFileError(
            f"{head.path}: was trained on other weights, those of {head.base} with the digest "
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
            raise ModelFileError(f"{file}: {key} is {config.get(key)!r}, not a text")
    return config
