"""Learn a tokenizer's vocabulary by byte-pair encoding (BPE).

Tokens are sequences of bytes, so every text can be encoded (Sennrich et al. 2016, arXiv
1508.07909).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

PADDING, END = "<pad>", "</s>"
"""Special tokens: padding (also the start token of an encoder–decoder), and end of text."""
PADDING_ID, END_ID = 0, 1
"""Ids of the special tokens. The first ids are assigned to them, as in T5."""


def learn_vocabulary(texts: Iterable[str], size: int) -> Tokenizer:
    """Learn a tokenizer with at most ``size`` tokens: all bytes, and the most frequent merges."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=[PADDING, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_vocabulary(tokenizer: Tokenizer, path: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` to a model folder."""
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PADDING, "eos_token": END}
    (path / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
