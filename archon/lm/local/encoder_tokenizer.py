"""Tokenizers and padded batches for encoders (cross-encoders and sentence encoders).

Only the tokenizer's template produces special tokens, such as ``[SEP]``. The name of a special
token in a text is encoded as ordinary text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from archon.engine.files.folder import ModelFolder
from archon.errors import ModelFileError

_TOKENIZER = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class EncoderBatch:
    """A batch of B texts, or pairs of texts, padded on the right to T tokens."""

    ids_BT: Tensor
    is_token_BT: Tensor
    segment_BT: Tensor


def encoder_tokenizer(folder: ModelFolder, context_length: int) -> Tokenizer:
    """Load the tokenizer of an encoder's folder. It truncates texts to ``context_length`` tokens.

    Raises
    ------
    ModelFileError
        The tokenizer is missing or damaged.
    """
    text = folder.text(_TOKENIZER)
    if text is None:
        raise ModelFileError(f"{folder.path}: the folder has no {_TOKENIZER}")
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library has no narrower type
        raise ModelFileError(f"{folder.path / _TOKENIZER}: {error}") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(context_length)
    tokenizer.encode_special_tokens = True
    return tokenizer


def padded(encodings: Sequence[Encoding]) -> EncoderBatch:
    """Combine encoded texts into a batch that is padded to the longest text."""
    longest = max(len(encoding.ids) for encoding in encodings)

    def rows(values: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor([[*row, *[0] * (longest - len(row))] for row in values])

    return EncoderBatch(
        rows([encoding.ids for encoding in encodings]),
        rows([encoding.attention_mask for encoding in encodings]).bool(),
        rows([encoding.type_ids for encoding in encodings]),
    )
