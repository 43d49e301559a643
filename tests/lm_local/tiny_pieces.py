"""A tiny vocabulary of SentencePiece, and its keys in GGUF files."""

from __future__ import annotations

from functools import cache
from typing import Any

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
WORDS = (
    "▁the", "▁answer", "▁is", "ing", "tion", "12", "▁▁▁▁", "é", "数学", "ello", "▁def", "http",
    "aaaa", "▁return", "ed", "er", "▁a", "▁x", "()", "==", "▁👍", "ска", "▁мир", "abcd",
)  # fmt: skip


@cache
def pieces() -> tuple[tuple[str, float, int], ...]:
    """A vocabulary of SentencePiece: piece, score and type."""
    special = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    bytes_ = [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    longer = dict.fromkeys(word[:end] for word in WORDS for end in range(2, len(word) + 1))
    letters = sorted({*"".join(WORDS), *"abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789.,'<>/_()=:"})
    ordinary = [*longer, *letters]
    scored = [(piece, -float(i), NORMAL) for i, piece in enumerate(ordinary)]
    added = [("<|im_end|>", 0.0, CONTROL), ("<tool>", 0.0, USER_DEFINED)]
    return (*special, *bytes_, *scored, *added)


PIECES = [piece for piece, *_ in pieces()]
IDS = {piece: i for i, piece in enumerate(PIECES)}
SCORES = {piece: score for piece, score, _ in pieces()}


def sentence_piece_keys(model: str = "llama", **more: Any) -> dict[str, Any]:
    keys = {
        "model": model, "pre": "default", "tokens": PIECES, "merges": None,
        "scores": [score for _, score, _ in pieces()],
        "token_type": [kind for *_, kind in pieces()],
        "bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0, **more,
    }  # fmt: skip
    return {f"tokenizer.ggml.{name}": value for name, value in keys.items()}
