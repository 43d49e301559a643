"""Byte-pair vocabularies of ranked byte strings, as the contents of a ``tokenizer.json``.

tiktoken and Mistral's ``tekken.json`` have no list of merges: two neighbouring tokens are merged if
together they are a token, those with the lowest rank first. The ``tokenizers`` library gets all
pairs that form a token, in the order of the ranks, which gives the same result.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from archon.lm.local.tokenizer.spelling import in_letters

BEGIN, END = "<s>", "</s>"
"""Tokens of every ``tekken.json`` that begin and end a text."""


def ranked_json(
    ranks: Mapping[bytes, int], pattern: str, special: Mapping[str, int]
) -> dict[str, Any]:
    """Return the contents of a ``tokenizer.json``.

    Parameters
    ----------
    ranks
        Byte string → id, in the order of the merges.
    pattern
        Regular expression that splits a text into parts, in which bytes are merged.
    special
        Text of each special token → id.
    """
    merges: list[tuple[int, int, int, bytes, bytes]] = []
    for token, rank in ranks.items():
        for at in range(1, len(token)):
            left, right = token[:at], token[at:]
            if left in ranks and right in ranks:
                merges.append((rank, ranks[left], ranks[right], left, right))
    merges.sort(key=lambda merge: merge[:3])
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    return {
        "added_tokens": [
            {"id": i, "content": text, "special": True} for text, i in special.items()
        ],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{**split, "invert": False}, {**letters, "use_regex": False}],
        },
        "decoder": {**letters, "use_regex": False},
        "model": {
            "type": "BPE",
            "ignore_merges": True,
            "vocab": {in_letters(token): i for token, i in ranks.items()},
            "merges": [[in_letters(left), in_letters(right)] for *_, left, right in merges],
        },
    }


def tekken_json(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents of a ``tokenizer.json`` for those of a ``tekken.json``.

    Raises
    ------
    ValueError
        A key is missing or malformed.
    """
    config, rows, special = (stated.get(key) for key in ("config", "vocab", "special_tokens"))
    if not isinstance(config, dict) or not isinstance(config.get("pattern"), str):
        raise ValueError("config.pattern is missing")
    if not isinstance(special, list):
        raise ValueError(
            "special_tokens is missing, as in files of 2024. Add the model's tokenizer.json; "
            "transformers writes it if mistral-common is installed"
        )
    if not isinstance(rows, list):
        raise ValueError("vocab is missing")
    try:
        names = {int(token["rank"]): str(token["token_str"]) for token in special}
        count = int(config.get("default_num_special_tokens") or len(names))
        size = config.get("default_vocab_size")
        used: Sequence[Any] = rows if size is None else rows[: int(size) - count]
        tokens = [base64.b64decode(row["token_bytes"], validate=True) for row in used]
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ValueError(f"a token is malformed: {type(error).__name__}: {error}") from None
    ranks = {token: count + i for i, token in enumerate(tokens)}
    found = ranked_json(
        ranks,
        config["pattern"],
        {names.get(i, f"<SPECIAL_{i}>"): i for i in range(count)},
    )
    return {**found, "post_processor": {"single": [{"SpecialToken": {"id": BEGIN}}]}}
