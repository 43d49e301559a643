"""Quality of the precisions: the perplexity of a text for the same weights in each precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archon.engine.loading import choose_device, load_decoder, open_model
from archon.engine.model.precision import Precision
from archon.engine.model.weights import weights_of
from archon.engine.perplexity import perplexity
from archon.errors import UsageError
from archon.lm.local.tokenizer import TextTokenizer, read_tokenizer_config
from archon.spec.encoding import read_text
from archon.spec.json_lines import read_rows


def perplexities(
    weights: Path,
    precisions: list[Precision],
    text: Path,
    *,
    num_tokens: int,
    window: int,
) -> Iterator[dict[str, Any]]:
    """Compute the perplexity of a text at each precision.

    Parameters
    ----------
    text
        A text file, or a ``.jsonl`` file whose strings are joined to a text.
    num_tokens
        Number of tokens of the text to use, at most.
    window
        Number of tokens per forward pass.

    Yields
    ------
    One dict ``{"precision", "num_tokens", "perplexity"}`` per precision.

    Raises
    ------
    SpecError
        The text cannot be read.
    UsageError
        The text is shorter than two tokens.
    """
    file = open_model(weights)
    token_ids = TextTokenizer(read_tokenizer_config(file)).encode(_read(text))[:num_tokens]
    if len(token_ids) < 2:
        raise UsageError(f"{text}: too short; perplexity needs at least two tokens")
    source, device = weights_of(file), choose_device()
    for precision in precisions:
        decoder = load_decoder(source, precision, device)
        value = perplexity(decoder, token_ids, window)
        yield {"precision": precision, "num_tokens": len(token_ids), "perplexity": value}


def _read(path: Path) -> str:
    if path.suffix != ".jsonl":
        return read_text(path)
    rows = [row for _, row in read_rows(path)]
    return "\n\n".join("\n".join(v for v in row.values() if isinstance(v, str)) for row in rows)
