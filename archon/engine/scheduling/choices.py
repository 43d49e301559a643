"""Log-probabilities of given continuations (choices), without sampling.

A choice is a sample whose every token is forced. So all choices share their prompt, which is
computed once, and the last token of a choice is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.sampling.sampler import SamplingRule
from archon.types import Hold


def score_request(
    prompt_ids: tuple[int, ...], choices: Sequence[tuple[int, ...]], hold: Hold | None = None
) -> GenerationRequest:
    """A request whose samples are the choices, none of them empty; ``total_logprob`` reads its
    results."""
    return GenerationRequest(
        prompt_ids=prompt_ids,
        draws=tuple(range(len(choices))),
        seed=0,
        rule=SamplingRule(),
        max_tokens=max(map(len, choices)),
        logprobs=True,
        hold=hold,
        constraint=_Given(tuple(choices)),
    )


def total_logprob(generation: Generation) -> float:
    """Log-probability of a scored choice: Σ log p(token | prompt, tokens before it), in nats."""
    assert generation.logprobs is not None
    return sum(generation.logprobs)


@dataclass(frozen=True, slots=True)
class _Given:
    """The ``TokenConstraint`` that makes sample k the k-th choice."""

    choices: tuple[tuple[int, ...], ...]
    key: str = "given"

    def matcher(self, index: int, max_tokens: int) -> _GivenMatcher:
        return _GivenMatcher(self.choices[index])


@dataclass(slots=True)
class _GivenMatcher:
    rest: tuple[int, ...]

    @property
    def finished(self) -> bool:
        return not self.rest

    def forced(self) -> tuple[int, ...]:
        return self.rest

    def allowed(self) -> Tensor | None:
        raise AssertionError("a choice leaves none")

    def advance(self, token: int) -> None:
        self.rest = self.rest[1:]
