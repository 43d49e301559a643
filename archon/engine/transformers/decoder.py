"""A causal language model of the transformers library, computed for the rows of one batch.

All rows have the same length, so that no row needs padding or an attention mask. Models differ in
how they can continue from their cache (``Reading``). This is found out by comparison with the
logits of complete texts, since no attribute of the library states it for every model.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from archon.engine.model.precision import Precision
from archon.engine.sampling.sampler import sample
from archon.engine.transformers.rows import Rows
from archon.errors import ModelFileError

_CACHE_NAMES = ("past_key_values", "cache_params", "state")
"""Names of the cache in the outputs and the arguments of models."""
_TOLERANCE = {torch.float32: 1e-3}
_LOW_TOLERANCE = 0.1
"""Largest difference of two computations of the same logits, relative to the largest logit."""


class Reading(Enum):
    """Number of tokens that a model can read in one call, given a cache of those before."""

    CHUNKS = "any number of tokens"
    TOKENS = "one token, but a text without a cache as a whole"
    TEXTS = "complete texts only: there is no cache, or it cannot be forked"


@dataclass(frozen=True, slots=True)
class TransformersConfig:
    """Sizes of a model."""

    family: str
    """``model_type`` of ``config.json``."""
    vocab_size: int
    """Number of embeddings."""
    width: int
    context_length: int
    long_after: None = None


class TransformersDecoder:
    """A causal language model of the transformers library.

    Parameters
    ----------
    model
        The model, a ``PreTrainedModel``.
    version
        Version of the library.

    Raises
    ------
    ModelFileError
        The model is not causal: earlier logits depend on later tokens.
    """

    adapters: tuple[str, ...] = ()

    def __init__(
        self, model: Any, config: TransformersConfig, precision: Precision, version: str
    ) -> None:
        self._model, self.config, self.precision = model, config, precision
        self.version = version
        self.device: torch.device = model.device
        self._takes = inspect.signature(model.forward).parameters
        self.can_cut = False
        """True if a cache can be cut to its first tokens (``Rows.first_tokens``)."""
        self.reading = Reading.TEXTS
        self.reading = self._find_reading()

    def start(self) -> Rows:
        """Return one empty row."""
        return Rows(torch.zeros((1, 0), dtype=torch.int64, device=self.device))

    def compute(self, rows: Rows, tokens: Sequence[Sequence[int]], num_logits: int) -> Tensor:
        """Append tokens to each row, and return the logits after the last ``num_logits`` of them.

        Parameters
        ----------
        tokens
            At least one token per row, the same number for each.
        num_logits
            At least 1, at most the number of tokens per row.

        Returns
        -------
        (B, num_logits, V), float32.
        """
        tokens_BK = torch.tensor(tokens, dtype=torch.int64, device=self.device)
        rows.token_ids_BT = torch.cat([rows.token_ids_BT, tokens_BK], dim=1)
        cache, rows.cache = rows.cache, None  # after an error, the cache may be incomplete
        has_cache = self.reading is not Reading.TEXTS
        arguments: dict[str, Any] = {"input_ids": tokens_BK if has_cache else rows.token_ids_BT}
        if "use_cache" in self._takes:
            arguments["use_cache"] = has_cache
        if "logits_to_keep" in self._takes:
            arguments["logits_to_keep"] = num_logits
        if cache is not None:
            arguments[cache[0]] = cache[1]
        output = self._model(**arguments)
        if has_cache:
            rows.cache = next(
                (name, value)
                for name in _CACHE_NAMES
                if (value := getattr(output, name, None)) is not None
            )
        logits_BTV: Tensor = output.logits
        return logits_BTV[:, -num_logits:].float()

    sample = staticmethod(sample)

    @torch.inference_mode()
    def _find_reading(self) -> Reading:
        """Return the best reading whose logits are those of complete texts."""
        ids = [(at * 7919 + 1) % self.config.vocab_size for at in range(12)]
        start, ends = ids[:4], (ids[4:8], ids[8:])
        expected_2TV = self.compute(self.start().select([0, 0]), [start + end for end in ends], 8)
        if not self._is_close(expected_2TV[0, :4], expected_2TV[1, :4]):
            raise ModelFileError("earlier logits depend on later tokens, so it is not causal")
        for reading in (Reading.CHUNKS, Reading.TOKENS):
            self.reading = reading
            try:
                if self._continues(start, ends, expected_2TV):
                    return reading
            except Exception:  # whatever it is, the model cannot be read in this way
                continue
        return Reading.TEXTS

    def _continues(self, start: list[int], ends: Sequence[list[int]], expected_2TV: Tensor) -> bool:
        """Return True if two texts with the same start get the expected logits by this reading.

        The start is computed once and forked, twice. The rows change places on the way. At the end
        they are cut to the start, which determines ``can_cut``.
        """
        is_chunked = self.reading is Reading.CHUNKS
        prompt = self.start()
        for chunk in (start[:2], start[2:]) if is_chunked else (start,):
            first_V = self.compute(prompt, [chunk], 1)[0, 0]
        logits = [first_V.expand(2, 1, -1)]
        rows, order = prompt.select([0, 0]), [0, 1]
        for begin, stop in ((0, 2), (2, 3), (3, 4)) if is_chunked else pairwise(range(5)):
            found = self.compute(rows, [ends[i][begin:stop] for i in order], stop - begin)
            logits.append(found[order])
            rows, order = rows.select([1, 0]), order[::-1]
        nexts, expected_2V = [end[:1] for end in ends], expected_2TV[:, 4]
        again_2V = self.compute(prompt.select([0, 0]), nexts, 1)[:, 0]
        if (cut := rows.first_tokens(len(start))) is not None:
            self.can_cut = self._is_close(self.compute(cut, nexts, 1)[:, 0], expected_2V)
        is_close = self._is_close(torch.cat(logits, dim=1), expected_2TV[:, 3:])
        return is_close and self._is_close(again_2V, expected_2V)

    @property
    def _tolerance(self) -> float:
        return _TOLERANCE.get(self._model.dtype, _LOW_TOLERANCE)

    def _is_close(self, found: Tensor, expected: Tensor) -> bool:
        difference = (found.nan_to_num() - expected.nan_to_num()).abs().max()
        return bool(difference <= self._tolerance * expected.nan_to_num().abs().max())
