"""The engine, which runs steps: each schedules work, computes it and postprocesses the results.

``Engine`` is synchronous and must be used from one thread; ``archon.engine.worker`` wraps it for
asyncio. ``add`` queues a request, and the ``step`` that finishes the request's last sequence
returns its results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.sampling.beam_search import BeamSearch
from archon.engine.sampling.constraint import mask_logits
from archon.engine.sampling.penalties import TokenHistory
from archon.engine.sampling.request import (
    FinishReason,
    Generation,
    GenerationRequest,
    check_rule,
    sample_key,
)
from archon.engine.sampling.sampler import as_matrix, token_logprobs, top_logprobs, uniform
from archon.engine.scheduling.scheduler import Batch, Scheduler
from archon.engine.scheduling.sequence import Prompt, Sequence
from archon.errors import ContextLengthError, EngineError
from archon.types import ModelStatus

_T = TypeVar("_T")
Row = tuple[Sequence, int]
"""Sequence to which a row of logits belongs, and the index, within its sample, of the token that
the row predicts."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Limits of an engine."""

    cache_bytes: int = 2 << 30
    """Memory for the cached keys and values, in bytes."""
    max_sequences: int = 512
    """Maximum number of sequences that decode at the same time."""
    max_step_tokens: int = 1024
    """Maximum number of tokens in one step."""


class Engine:
    """A decoder with its cache and its scheduler.

    Parameters
    ----------
    decoder
        The model.
    model_id
        Digest of the weights, which is part of every sample's key.
    context_length
        Maximum number of tokens of prompt and completion together; by default the model's.
    """

    library = "torch"
    """What computes the logits, if it is not the compiled kernels."""

    def __init__(
        self,
        decoder: SpanDecoder,
        model_id: str = "",
        options: EngineOptions | None = None,
        context_length: int | None = None,
    ) -> None:
        self.decoder = decoder
        self.model_id = f"{model_id}:{decoder.precision}:{decoder.device.type}"
        self.context_length = context_length or decoder.config.context_length
        self.scheduler = self._new_scheduler(options or EngineOptions())
        self._finished: dict[Prompt, list[Generation | None]] = {}
        self.failed: dict[Prompt, EngineError] = {}
        """Requests that failed in a step → their errors; the caller removes the entries."""
        self._searches: dict[Prompt, BeamSearch] = {}
        self._num_sampled = 0

    def _new_scheduler(self, options: EngineOptions) -> Scheduler:
        decoder = self.decoder
        min_blocks = 8 * decoder.config.cache_layout.entry_size
        num_blocks = max(options.cache_bytes // decoder.bytes_per_block, min_blocks)
        self.cache = decoder.new_cache(num_blocks)
        max_step_tokens = max(options.max_step_tokens, options.max_sequences + 64)
        return Scheduler(self.cache, options.max_sequences, max_step_tokens)

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work

    def status(self) -> ModelStatus:
        """Return the current counts; any thread may call this.

        Called from another thread, the counts may be one step old.
        """
        scheduler = self.scheduler
        num_prompt_tokens = scheduler.num_prompt_tokens
        return ModelStatus(
            "decoding",
            num_running=len(scheduler.running),
            num_waiting=len(scheduler.arrived) + len(scheduler.prefilling),
            generated_tokens=self._num_sampled,
            cache_used=1 - scheduler.memory.num_available / self.cache.num_blocks,
            cached_prompt_share=(
                scheduler.num_cached_tokens / num_prompt_tokens if num_prompt_tokens else None
            ),
        )

    def add(self, request: GenerationRequest) -> Prompt:
        """Queue a request; return a handle for ``cancel`` and for the results of ``step``.

        Raises
        ------
        ContextLengthError
            The request does not fit the model's context or the cache.
        EngineError
            The request is invalid.
        """
        prompt = Prompt(request, self.decoder.config.long_after)
        self._validate(prompt)
        self._finished[prompt] = [None] * len(request.draws)
        if request.beams:
            self._searches[prompt] = BeamSearch(request)
        if request.hidden:
            width = self.decoder.config.width
            prompt.hidden_E = torch.empty(width, device=self.decoder.device)
        for sequence in prompt.waiting:
            draw = request.draws[sequence.index]
            sequence.sample_key = sample_key(request, draw, self.model_id)
            if request.rule.has_penalty:
                sequence.history = TokenHistory(request.prompt_ids)
            if request.constraint is not None:
                sequence.matcher = request.constraint.matcher(sequence.index, request.max_tokens)
        self.scheduler.enqueue(prompt)
        return prompt

    def cancel(self, prompt: Prompt) -> None:
        """Cancel an unfinished request and free its memory."""
        self._searches.pop(prompt, None)
        if self._finished.pop(prompt, None) is not None:
            self.scheduler.cancel(prompt)

    def drop_adapter(self, digest: str) -> None:
        """Remove an adapter, and the cached prefixes that were computed with it.

        Raises
        ------
        EngineError
            The engine does not have the adapter, or an unfinished request uses it.
        """
        if digest not in self.decoder.adapters:
            raise EngineError(f"the engine has no adapter {digest!r}")
        if any(prompt.request.adapter == digest for prompt in self._finished):
            raise EngineError(
                f"the adapter {digest!r} cannot be removed, since an unfinished request uses it"
            )
        self.scheduler.memory.drop_adapter(digest)
        self.decoder.drop_adapter(digest)

    @torch.inference_mode()
    def step(self) -> dict[Prompt, list[Generation]]:
        """Compute one step; return the results of the requests that it finished."""
        batch = self.scheduler.schedule()
        finished: dict[Prompt, list[Generation]] = {}
        rows: list[Row] = []
        logits: list[Tensor] = []
        if batch.spans:
            logits_BV = self.decoder(batch.spans, self.cache)
            self.scheduler.mark_computed(batch)
            rows, logits = self._split_logits(batch, logits_BV)
            finished = self._finish_hidden(batch)
        started = self.scheduler.start_sequences()
        rows += [(sequence, 0) for sequence in started]
        logits += self._first_logits(started)
        for sequence in started:
            self._guard(sequence, sequence.add_forced)
        return finished | self._postprocess(rows, logits)

    def _validate(self, prompt: Prompt) -> None:
        request, vocab_size = prompt.request, self.decoder.config.vocab_size
        check_rule(request, vocab_size)
        can_finish = request.max_tokens >= 1 or request.hidden
        if not request.prompt_ids or not request.draws or not can_finish:
            raise EngineError(
                "a request needs at least one prompt token, at least one sample and a max_tokens "
                "of at least 1"
            )
        if not 0 <= min(request.prompt_ids) <= max(request.prompt_ids) < vocab_size:
            raise EngineError(
                f"a token id of the prompt is not in the vocabulary of {vocab_size} tokens"
            )
        if request.adapter and request.adapter not in self.decoder.adapters:
            raise EngineError(f"the engine has no adapter {request.adapter!r}")
        limit = self.scheduler.max_sequences
        if request.beams and not len(request.draws) <= request.beams <= limit:
            raise EngineError(
                f"a beam search with {request.beams} beams cannot return {len(request.draws)} "
                f"samples: use at least one beam per sample and at most {limit} beams"
            )
        if request.beams and request.constraint is not None:
            raise EngineError("beam search does not support constraints")
        total = prompt.num_tokens + request.max_tokens
        tokens = f"{prompt.num_tokens} prompt tokens and up to {request.max_tokens} new ones"
        if total > self.context_length:
            raise ContextLengthError(
                f"{tokens} do not fit the model's context of {self.context_length} tokens"
            )
        self._check_cache(prompt)

    def _check_cache(self, prompt: Prompt) -> None:
        """Check that the cache is large enough for a request.

        Raises
        ------
        ContextLengthError
            It is not.
        """
        if self.scheduler.memory.num_needed(prompt) > self.cache.num_blocks:
            raise ContextLengthError(
                f"{prompt.num_tokens} prompt tokens and up to {prompt.request.max_tokens} new ones "
                "do not fit the cache; increase cache_bytes or reduce max_tokens"
            )

    @staticmethod
    def _split_logits(batch: Batch, logits_BV: Tensor) -> tuple[list[Row], list[Tensor]]:
        """Split logits into rows (V,); return those of sequences, and store those of prompts."""
        rows: list[Row] = []
        logits: list[Tensor] = []
        all_logits = iter(logits_BV.unbind())
        for text, span in zip(batch.texts, batch.spans, strict=True):
            if isinstance(text, Sequence):
                stop = span.stop - text.prompt.num_tokens + 1
                rows += [(text, at) for at in range(stop - span.num_logits, stop)]
                logits += islice(all_logits, span.num_logits)
            elif span.num_logits:
                text.last_logits_V = next(all_logits).clone()
        return rows, logits

    @staticmethod
    def _first_logits(started: list[Sequence]) -> list[Tensor]:
        """Return the logits (V,) after the prompt of each sequence that starts."""
        rows: list[Tensor] = []
        for sequence in started:
            prompt = sequence.prompt
            assert prompt.last_logits_V is not None
            rows.append(prompt.last_logits_V)
        for sequence in started:
            if not sequence.prompt.waiting:
                sequence.prompt.last_logits_V = None
        return rows

    def _postprocess(self, rows: list[Row], logits: list[Tensor]) -> dict[Prompt, list[Generation]]:
        """Sample next tokens, record log-probabilities, and return the finished requests."""
        finished: dict[Prompt, list[Generation]] = {}
        sampled: list[int] = []
        beams_of: dict[Prompt, list[int]] = {}
        for row, (sequence, at) in enumerate(rows):
            if not sequence.ending and at == len(sequence.token_ids):
                is_beam = sequence.request.beams
                (beams_of.setdefault(sequence.prompt, []) if is_beam else sampled).append(row)
        if sampled:
            self._sample([rows[row][0] for row in sampled], [logits[row] for row in sampled])
        for prompt, beams in beams_of.items():
            logits_BV = torch.stack([logits[row] for row in beams])
            self._search(prompt, [rows[row][0] for row in beams], logits_BV, finished)
        self._score(rows, logits)
        for sequence in dict.fromkeys(sequence for sequence, _ in rows if sequence.ending):
            assert sequence.ending is not None
            if not sequence.num_unscored and sequence.prompt in self._finished:
                self._finish(sequence, sequence.ending, finished)
        return finished

    def _sample(self, sequences: list[Sequence], logits: list[Tensor]) -> None:
        """Sample one token for each sequence."""
        rules = [s.request.rule for s in sequences]
        noise = [
            uniform(s.sample_key, len(s.token_ids)) if rule.temperature else 0.0
            for s, rule in zip(sequences, rules, strict=True)
        ]
        masks = [
            None if s.matcher is None else self._guard(s, s.matcher.allowed) for s in sequences
        ]
        allowed = [
            logits_V if mask is None else mask_logits(logits_V, mask)
            for logits_V, mask in zip(logits, masks, strict=True)
        ]
        tokens = self.decoder.sample(allowed, rules, noise, [s.history for s in sequences])
        self._num_sampled += len(tokens)
        for sequence, token in zip(sequences, tokens, strict=True):
            if sequence.matcher is None:
                sequence.add_sampled(token)
            else:
                self._guard(sequence, partial(sequence.add_sampled, token))

    def _guard(self, sequence: Sequence, action: Callable[[], _T]) -> _T | None:
        """Call a sequence's constraint; if it raises ``EngineError``, fail the request."""
        prompt = sequence.prompt
        if prompt not in self._finished:  # failed earlier in this step
            return None
        try:
            return action()
        except EngineError as error:
            self.cancel(prompt)
            self.failed[prompt] = error
            return None

    @staticmethod
    def _score(rows: list[Row], logits: list[Tensor]) -> None:
        """Record requested log-probabilities of sampled and forced tokens."""
        scored = [
            (row, sequence, sequence.token_ids[at])
            for row, (sequence, at) in enumerate(rows)
            if sequence.request.logprobs and sequence.num_unscored and at < len(sequence.token_ids)
        ]
        if not scored:
            return
        logits_RV = as_matrix([logits[row] for row, _, _ in scored])
        tokens_R = torch.tensor([token for _, _, token in scored], device=logits_RV.device)
        temperatures = [sequence.request.logprob_temperature for _, sequence, _ in scored]
        if any(temperature != 1 for temperature in temperatures):
            logits_RV = logits_RV / torch.tensor(temperatures, device=logits_RV.device).unsqueeze(1)
        logprobs_R = token_logprobs(logits_RV, tokens_R)
        for (_, sequence, _), logprob in zip(scored, logprobs_R.tolist(), strict=True):
            sequence.logprobs.append(logprob)
        counts = [sequence.request.top_logprobs for _, sequence, _ in scored]
        for count in sorted({*counts} - {0}):
            rows_C = [row for row, of_row in enumerate(counts) if of_row == count]
            for row, likeliest in zip(rows_C, top_logprobs(logits_RV[rows_C], count), strict=True):
                scored[row][1].top_logprobs.append(likeliest)

    def _search(
        self,
        prompt: Prompt,
        beams: list[Sequence],
        logits_BV: Tensor,
        finished: dict[Prompt, list[Generation]],
    ) -> None:
        """Extend the beams of a search by one token, or finish a search that is over."""
        search, num_cached = self._searches[prompt], beams[0].num_cached
        running = search.advance(beams, logits_BV)
        self._num_sampled += len(running)
        if running:
            children = self.scheduler.branch([beams[c.beam] for c in running])
            for child, continuation in zip(children, running, strict=True):
                child.append(continuation.token)
                child.logprobs.append(continuation.logprob)
                child.total_logprob = continuation.total_logprob
            return
        for beam in beams:
            self.scheduler.finish(beam)
        del self._searches[prompt], self._finished[prompt]
        finished[prompt] = search.results(num_cached)

    def _finish_hidden(self, batch: Batch) -> dict[Prompt, list[Generation]]:
        """Finish the requests for hidden states that this batch computed."""
        finished: dict[Prompt, list[Generation]] = {}
        for text, span in zip(batch.texts, batch.spans, strict=True):
            if span.hidden_E is not None:
                assert isinstance(text, Prompt)
                cached, draw = text.num_cached, text.request.draws[0]
                self.scheduler.finish_prompt(text)
                del self._finished[text]
                generation = Generation(draw, (), None, "stop", cached, hidden_E=span.hidden_E)
                finished[text] = [generation]
        return finished

    def _finish(
        self, sequence: Sequence, reason: FinishReason, finished: dict[Prompt, list[Generation]]
    ) -> None:
        prompt, request = sequence.prompt, sequence.request
        self.scheduler.finish(sequence)
        results = self._finished[prompt]
        results[sequence.index] = Generation(
            draw=request.draws[sequence.index],
            token_ids=tuple(sequence.token_ids),
            logprobs=tuple(sequence.logprobs) if request.logprobs else None,
            finish_reason=reason,
            cached_tokens=sequence.num_cached,
            ended_by=sequence.ended_by,
            top_logprobs=tuple(sequence.top_logprobs) if request.top_logprobs else None,
        )
        if not prompt.is_unfinished:
            finished[prompt] = [g for g in self._finished.pop(prompt) if g is not None]
