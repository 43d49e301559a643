"""Log-probabilities of given continuations (choices), without sampling.

Each choice is a sample whose tokens are all forced. The samples share their prompt, which is
computed only once. The last token of a choice is never computed, because no later token attends to
it.
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
    """Return a request whose k-th sample is the k-th choice.

    ``total_logprob`` returns the log-probability of each resulting ``Generation``.

    Parameters
    ----------
    choices
        Token ids of each choice, at least one.
    hold
        Pins the prompt in the cache until it is released.
    """
    return GenerationRequest(
        prompt_ids=prompt_ids,
        draws=tuple(range(len(choices))),
        seed=0,
        rule=SamplingRule(),
        max_tokens=max(map(len, choices)),
        logprobs=True,
        hold=hold,
        constraint=_ForcedChoices(tuple(choices)),
    )


def total_logprob(generation: Generation) -> float:
    """Return log p(choice | prompt) = Σ log p(token | prompt, tokens before it), in nats."""
    assert generation.logprobs is not None
    return sum(generation.logprobs)


@dataclass(frozen=True, slots=True)
class _ForcedChoices:
    """A ``TokenConstraint`` that forces sample k to be the k-th choice."""

    choices: tuple[tuple[int, ...], ...]
    key: str = "given"

    def matcher(self, index: int, max_tokens: int) -> _ForcedMatcher:
        return _ForcedMatcher(self.choices[index])


@dataclass(slots=True)
class _ForcedMatcher:
    rest: tuple[int, ...]

    @property
    def finished(self) -> bool:
        return not self.rest

    def forced(self) -> tuple[int, ...]:
        return self.rest

    def allowed(self) -> Tensor | None:
        raise AssertionError("every token of a choice is forced")

    def advance(self, token: int) -> None:
        self.rest = self.rest[1:]
