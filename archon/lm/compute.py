"""Compute of an answer: the floating-point operations (FLOPs) of its models' forward passes.

Tokens of a small and of a large model do not cost the same; their FLOPs do. Only the products that
dominate a transformer's compute are counted, as is usual (Kaplan et al. 2020, arXiv 2001.08361,
section 2.1; Hoffmann et al. 2022, arXiv 2203.15556, appendix F):

- the product with each weight matrix, one multiplication and one addition per weight: 2 FLOPs for
  each weight and token. The embedding table is read and not multiplied. The head, which predicts
  the next token, is multiplied only where a token is sampled or scored.
- the attention, per layer and token: 2 FLOPs for each number of all query heads and each token in
  the context for the scores, and 2 more for the weighted sum of values: 4 · width · context.

Norms, rotary embeddings, softmax, sampling and low-rank adapters are not counted; together they
are about one percent. The number is that of the model, whatever the precision in which it is
computed, and whether an engine computes more than necessary, for example for padding.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


def attended_tokens(first: int, last: int, window: int | None = None) -> int:
    """Return the total context of the tokens at positions ``first`` to ``last``, counted from 1.

    The token at position t attends to itself and all tokens before it, or to the last ``window``.

    >>> attended_tokens(1, 4), attended_tokens(3, 4), attended_tokens(1, 4, window=2)
    (10, 7, 7)
    """
    if last < first:
        return 0
    if window is None or last <= window:
        return (last - first + 1) * (first + last) // 2
    start = max(first, window + 1)
    return attended_tokens(first, start - 1) + (last - start + 1) * window


@dataclass(frozen=True, slots=True)
class AttentionLayers:
    """Equal attention layers of a model."""

    num_layers: int
    width: int
    """Width of all query heads of a layer together, H · D."""
    window: int | None = None
    """Most recent tokens that a token attends to, itself included; None for all tokens."""


class ComputeModel(Protocol):
    """The compute of a model for a text, in FLOPs."""

    @property
    def is_estimate(self) -> bool:
        """True if the sizes of the model are not known exactly."""
        ...

    def prompt(self, num_tokens: int) -> int:
        """Return the compute of reading a prompt and predicting the token after it."""
        ...

    def completion(self, prompt_tokens: int, num_tokens: int) -> int:
        """Return the compute of generating ``num_tokens`` tokens after a prompt that was read."""
        ...

    def choices(self, prompt_tokens: int, num_tokens: int, num_choices: int) -> int:
        """Return the compute of scoring choices of ``num_tokens`` tokens in total."""
        ...


@dataclass(frozen=True, slots=True)
class DecoderCompute:
    """Sizes of a decoder that determine its compute."""

    parameters: int
    """Active weights that multiply every token, without embedding table and head."""
    head_parameters: int = 0
    """Weights of the head. 0 if ``parameters`` includes them."""
    attention: tuple[AttentionLayers, ...] = ()
    """Attention layers; empty if their width is unknown, and attention is then not counted."""
    is_estimate: bool = False
    """True if the sizes are read from the model's name, or a card does not have all of them."""

    def read(self, before: int, num_tokens: int) -> int:
        """Return the compute of ``num_tokens`` tokens after ``before`` tokens, without the head."""
        attention = sum(
            4
            * layers.num_layers
            * layers.width
            * attended_tokens(before + 1, before + num_tokens, layers.window)
            for layers in self.attention
        )
        return 2 * self.parameters * num_tokens + attention

    def prompt(self, num_tokens: int) -> int:
        """See ``ComputeModel.prompt``."""
        return self.read(0, num_tokens) + 2 * self.head_parameters

    def completion(self, prompt_tokens: int, num_tokens: int) -> int:
        """See ``ComputeModel.completion``.

        All tokens are read but the last, and predict the next one. The first one is predicted by
        the prompt, once for all of its completions.
        """
        num_read = max(0, num_tokens - 1)
        return self.read(prompt_tokens, num_read) + 2 * self.head_parameters * num_read

    def choices(self, prompt_tokens: int, num_tokens: int, num_choices: int) -> int:
        """See ``ComputeModel.choices``. The choices are taken to be equally long."""
        if num_choices < 1:
            return 0
        longer, rest = divmod(num_tokens, num_choices)
        return rest * self.completion(prompt_tokens, longer + 1) + (
            num_choices - rest
        ) * self.completion(prompt_tokens, longer)


@dataclass(frozen=True, slots=True)
class EncoderDecoderCompute:
    """Sizes of an encoder–decoder, whose encoder reads the prompt."""

    encoder_parameters: int
    """Weights of the encoder, and those of the decoder that multiply the encoder's output."""
    decoder_parameters: int
    """Weights of the decoder that multiply every token of a completion, and the head."""
    num_encoder_layers: int
    num_decoder_layers: int
    width: int
    """Width of all heads of a layer together."""
    is_estimate: bool = False

    def prompt(self, num_tokens: int) -> int:
        """See ``ComputeModel.prompt``. Every token attends to the whole prompt."""
        attention = 4 * self.num_encoder_layers * self.width * num_tokens**2
        return 2 * self.encoder_parameters * num_tokens + attention

    def completion(self, prompt_tokens: int, num_tokens: int) -> int:
        """See ``ComputeModel.completion``. Each token attends to prompt and completion."""
        context = num_tokens * prompt_tokens + attended_tokens(1, num_tokens)
        attention = 4 * self.num_decoder_layers * self.width * context
        return 2 * self.decoder_parameters * num_tokens + attention

    def choices(self, prompt_tokens: int, num_tokens: int, num_choices: int) -> int:
        """See ``ComputeModel.choices``; encoder–decoders score none."""
        return self.completion(prompt_tokens, num_tokens)


@runtime_checkable
class HasCompute(Protocol):
    """An LM that knows its sizes."""

    @property
    def compute_model(self) -> ComputeModel | None:
        """The sizes that determine compute; None if they are unknown or the model is not open."""
        ...


def compute_of(lm: object) -> ComputeModel | None:
    """Return what a model computes; None if it is unknown."""
    return lm.compute_model if isinstance(lm, HasCompute) else None


# -------------------------------------------------------------------- reward models and encoders


@dataclass(frozen=True, slots=True)
class ScoredTexts:
    """Texts that a reward model or an encoder has read."""

    num_tokens: int = 0
    compute: int | None = None
    """In FLOPs; None if it is unknown."""
    is_truncated: bool = False
    """Whether a text was cut, because it exceeds the model's context."""


_SCORED: ContextVar[list[ScoredTexts] | None] = ContextVar("scored_texts", default=None)


@contextmanager
def collect_scored() -> Iterator[list[ScoredTexts]]:
    """Collect the texts that reward models and encoders read in the ``with`` block.

    Their interfaces return only scores and vectors, so they report their work here.
    """
    scored: list[ScoredTexts] = []
    token = _SCORED.set(scored)
    try:
        yield scored
    finally:
        _SCORED.reset(token)


def report_scored(num_tokens: int, compute: int, *, is_truncated: bool = False) -> None:
    """Report the texts that a reward model or an encoder has read."""
    scored = _SCORED.get()
    if scored is not None:
        scored.append(ScoredTexts(num_tokens, compute, is_truncated))


async def scored(work: Awaitable[T], texts: Sequence[str]) -> T:
    """Await the scores or vectors of texts; their compute is unknown if the model reports none."""
    collected = _SCORED.get()
    before = 0 if collected is None else len(collected)
    result = await work
    if texts and collected is not None and len(collected) == before:
        collected.append(ScoredTexts())
    return result


# ------------------------------------------------------------------------------- usage by model


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """Usage of one model for one or several answers."""

    calls: int = 0
    prompt_tokens: int = 0
    """Tokens of prompts, each distinct prompt of an answer once."""
    completion_tokens: int = 0
    choice_tokens: int = 0
    scored_tokens: int = 0
    """Tokens that a reward model or an encoder read; 0 if they are unknown."""
    prompt_compute: int | None = 0
    """The part of ``compute`` for reading prompts; None if it is unknown."""
    compute: int | None = 0
    """In FLOPs; None if it is unknown."""
    is_estimate: bool = False
    """True if the sizes of the model are not known exactly."""

    def __add__(self, other: ModelUsage) -> ModelUsage:
        return ModelUsage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.choice_tokens + other.choice_tokens,
            self.scored_tokens + other.scored_tokens,
            total_compute([self.prompt_compute, other.prompt_compute]),
            total_compute([self.compute, other.compute]),
            self.is_estimate or other.is_estimate,
        )


def total_compute(parts: Iterable[int | None]) -> int | None:
    """Return the sum; None if a part is unknown."""
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total
