"""Tiny decoders and files for the tests of training."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archon.engine.model.config import DecoderConfig
from archon.engine.model.weights import RandomWeights
from archon.train.decoder import TrainableDecoder, decoder_of


def tiny_config(**changes: Any) -> DecoderConfig:
    shape: dict[str, Any] = {
        "family": "llama", "num_layers": 2, "width": 16, "ffn_width": 24, "num_heads": 4,
        "num_kv_heads": 2, "head_width": 4, "vocab_size": 40, "context_length": 128,
    }  # fmt: skip
    return DecoderConfig(**(shape | changes))


def tiny_decoder(**changes: Any) -> TrainableDecoder:
    return decoder_of(RandomWeights(tiny_config(**changes)))


def one_text(token_ids: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return a row with a single text: tokens, positions, texts."""
    tokens = torch.tensor([token_ids])
    return tokens, torch.arange(len(token_ids))[None], torch.zeros_like(tokens)


def slope(
    loss: Callable[[], Tensor], parameter: Tensor, direction: Tensor, epsilon: float
) -> Tensor:
    """Return the derivative of a loss along a direction of a parameter, by central differences."""
    with torch.no_grad():
        parameter += epsilon * direction
        up = loss()
        parameter -= 2 * epsilon * direction
        down = loss()
        parameter += epsilon * direction
    return (up - down) / (2 * epsilon)


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
