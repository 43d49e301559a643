"""Beam search: a bounded search for the likeliest texts.

In each step, every running hypothesis is extended by every token. The ``beams`` likeliest
continuations that do not end stay running. A continuation ends with a stop token or at
``max_tokens``. It becomes a finished text if it is among the ``beams`` likeliest continuations of
its step. The score of a finished text is Σ log p(token), including the stop token, divided by its
number of tokens to the power ``length_penalty``. (Wu et al. 2016, arXiv 1609.08144, propose a
longer formula; this is the usual simplification.)

The search ends at ``max_tokens``. If ``beams`` texts are finished, it may end earlier, depending on
``early_stopping``:

True
    It ends immediately.
False
    It ends when the best running hypothesis, if it ended now, would not score better than the worst
    finished text.
"never"
    It ends when that hypothesis could not score better than that text even at the best possible
    length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.sampling.sampler import largest


@dataclass(frozen=True, slots=True)
class Continuation:
    """A running hypothesis extended by one token."""

    beam: int
    """Index of the hypothesis that it continues."""
    token: int
    logprob: float
    """log p(token), in nats."""
    total_logprob: float
    """Sum of the log-probabilities of all tokens of the hypothesis, including this one."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished text."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    score: float
    ended_by: int | None
    """The stop token that ended it, which is not part of the text; None at ``max_tokens``."""


class Beam(Protocol):
    """A running hypothesis, such as a ``Sequence`` of the scheduler."""

    token_ids: list[int]
    logprobs: list[float]
    total_logprob: float


class BeamSearch:
    """One beam search and its finished hypotheses."""

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
        self.finished: list[Hypothesis] = []
        """The best finished hypotheses, at most ``beams``, best first."""

    def advance(self, beams: Sequence[Beam], logits_BV: Tensor) -> list[Continuation]:
        """Extend the running hypotheses by one token.

        Parameters
        ----------
        beams
            The running hypotheses, all of the same length.
        logits_BV
            Next-token logits of each.

        Returns
        -------
        The continuations that stay running, likeliest first; an empty list ends the search.
        """
        request = self.request
        num_tokens = len(beams[0].token_ids) + 1
        running: list[Continuation] = []
        for rank, candidate in enumerate(self._candidates(beams, logits_BV)):
            if candidate.token in request.stop_ids or num_tokens >= request.max_tokens:
                if rank < request.beams:
                    self._finish(beams[candidate.beam], candidate, num_tokens)
            elif len(running) < request.beams:
                running.append(candidate)
        return [] if self._is_over(running, num_tokens) else running

    def results(self, num_cached: int) -> list[Generation]:
        """Return a finished text for each sample: the best one for sample index 0, and so on.

        If too few texts are finished, they are repeated, starting with the best.

        Parameters
        ----------
        num_cached
            Number of prompt tokens that were in the cache. The first sample reports this number;
            the others report the whole prompt as cached.
        """
        results: list[Generation] = []
        for index, draw in enumerate(self.request.draws):
            best = self.finished[draw % self.request.beams % len(self.finished)]
            num_tokens = self._report_tokens(index, best.token_ids)
            is_cut = num_tokens < len(best.token_ids)
            generation = Generation(
                draw=draw,
                token_ids=best.token_ids[:num_tokens],
                logprobs=best.logprobs[:num_tokens] if self.request.logprobs else None,
                finish_reason="stop" if is_cut or best.ended_by is not None else "length",
                cached_tokens=len(self.request.prompt_ids) if index else num_cached,
                ended_by=None if is_cut else best.ended_by,
                score=best.score,
            )
            results.append(generation)
        return results

    def _report_tokens(self, index: int, token_ids: tuple[int, ...]) -> int:
        """Call ``on_token`` for each token until it stops the text; return the number of calls."""
        on_token = self.request.on_token
        if on_token is not None:
            for at, token in enumerate(token_ids):
                if on_token(index, token):
                    return at + 1
        return len(token_ids)

    def _candidates(self, beams: Sequence[Beam], logits_BV: Tensor) -> list[Continuation]:
        """Return the likeliest continuations, likeliest first.

        Even if every stop token is among them, at least ``beams`` of them can stay running.
        """
        count = max(2, 1 + len(self.request.stop_ids)) * self.request.beams
        logits_BK, ids_BK = largest(logits_BV, min(count, logits_BV.shape[1]))
        logprobs_BK = logits_BK - logits_BV.logsumexp(dim=-1, keepdim=True)
        found = [
            Continuation(i, token, logprob, beam.total_logprob + logprob)
            for i, beam in enumerate(beams)
            for token, logprob in zip(ids_BK[i].tolist(), logprobs_BK[i].tolist(), strict=True)
        ]
        found.sort(key=lambda candidate: -candidate.total_logprob)
        return found[:count]

    def _finish(self, beam: Beam, last: Continuation, num_tokens: int) -> None:
        is_stop = last.token in self.request.stop_ids
        hypothesis = Hypothesis(
            token_ids=(*beam.token_ids, *(() if is_stop else (last.token,))),
            logprobs=(*beam.logprobs, *(() if is_stop else (last.logprob,))),
            score=last.total_logprob / num_tokens**self.request.length_penalty,
            ended_by=last.token if is_stop else None,
        )
        self.finished.append(hypothesis)
        self.finished.sort(key=lambda h: -h.score)
        del self.finished[self.request.beams :]

    def _is_over(self, running: list[Continuation], num_tokens: int) -> bool:
        request = self.request
        if not running:
            return True
        if len(self.finished) < request.beams:
            return False
        if request.early_stopping is True:
            return True
        if request.early_stopping == "never" and request.length_penalty > 0:
            num_tokens = request.max_tokens
        best = running[0].total_logprob / num_tokens**request.length_penalty
        return best <= self.finished[-1].score
