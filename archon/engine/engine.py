"""The engine: schedule, compute and postprocess, step by step.

``Engine`` is synchronous and belongs to one thread; ``archon.engine.worker`` puts it behind
asyncio. ``add`` takes a request; the ``step`` that finishes its last sequence returns it.
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
from archon.engine.sampling.constraint import without_others
from archon.engine.sampling.request import FinishReason, Generation, GenerationRequest, draw_key
from archon.engine.sampling.sampler import matrix_of, token_logprobs, uniform
from archon.engine.scheduling.scheduler import Batch, Scheduler
from archon.engine.scheduling.sequence import Prompt, Sequence
from archon.errors import ContextLengthError, EngineError
from archon.types import ModelStatus

_T = TypeVar("_T")
Row = tuple[Sequence, int]
"""The sequence of a row of logits, and the index of the token that the row predicts."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Limits of an engine."""

    cache_bytes: int = 2 << 30
    """Memory for keys and values."""
    max_sequences: int = 512
    """Sequences that decode at once."""
    max_step_tokens: int = 1024
    """Maximum tokens of one step."""


class Engine:
    """A decoder, its cache and its scheduler.

    Parameters
    ----------
    decoder
        The model.
    model_id
        Digest of the weights; samples depend on it and on the request.
    context_length
        Tokens of prompt and completion together; by default the model's own.
    """

    def __init__(
        self,
        decoder: SpanDecoder,
        model_id: str = "",
        options: EngineOptions | None = None,
        context_length: int | None = None,
    ) -> None:
        options = options or EngineOptions()
        self.decoder = decoder
        self.model_id = f"{model_id}:{decoder.precision}:{decoder.device.type}"
        self.context_length = context_length or decoder.config.context_length
        self.cache = decoder.new_cache(max(options.cache_bytes // decoder.bytes_per_block, 8))
        max_step_tokens = max(options.max_step_tokens, options.max_sequences + 64)
        self.scheduler = Scheduler(self.cache, options.max_sequences, max_step_tokens)
        self._finished: dict[Prompt, list[Generation | None]] = {}
        self.failed: dict[Prompt, EngineError] = {}
        """Requests that failed in a step; the caller removes them."""
        self._searches: dict[Prompt, BeamSearch] = {}
        self._num_drawn = 0

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work

    def status(self) -> ModelStatus:
        """Current counts; safe from any thread, where they lag by at most one step."""
        scheduler = self.scheduler
        num_prompt_tokens = scheduler.num_prompt_tokens
        return ModelStatus(
            "decoding",
            num_running=len(scheduler.running),
            num_waiting=len(scheduler.arrived) + len(scheduler.prefilling),
            generated_tokens=self._num_drawn,
            cache_used=1 - scheduler.memory.num_available / self.cache.num_blocks,
            cached_prompt_share=(
                scheduler.num_cached_tokens / num_prompt_tokens if num_prompt_tokens else None
            ),
        )

    def add(self, request: GenerationRequest) -> Prompt:
        """Queue a request; the returned prompt is its handle.

        Raises
        ------
        ContextLengthError
            It does not fit the model's context, or the whole cache.
        EngineError
            An empty prompt, or a token that the vocabulary does not have.
        """
        prompt = Prompt(request)
        self._check(prompt)
        self._finished[prompt] = [None] * len(request.draws)
        if request.beams:
            self._searches[prompt] = BeamSearch(request)
        if request.hidden:
            width = self.decoder.config.width
            prompt.hidden_E = torch.empty(width, device=self.decoder.device)
        for sequence in prompt.waiting:
            draw = request.draws[sequence.index]
            sequence.draw_key = draw_key(request, draw, self.model_id)
            if request.constraint is not None:
                sequence.matcher = request.constraint.matcher(sequence.index, request.max_tokens)
        self.scheduler.arrive(prompt)
        return prompt

    def cancel(self, prompt: Prompt) -> None:
        """Cancel an unfinished request; its memory is free at once."""
        self._searches.pop(prompt, None)
        if self._finished.pop(prompt, None) is not None:
            self.scheduler.cancel(prompt)

    def drop_adapter(self, digest: str) -> None:
        """Remove an adapter and the prefixes computed under it.

        Raises
        ------
        EngineError
            There is no such adapter, or an unfinished request uses it.
        """
        if digest not in self.decoder.adapters:
            raise EngineError(f"the engine has no adapter {digest!r}")
        if any(prompt.adapter == digest for prompt in self._finished):
            raise EngineError(f"the adapter {digest!r} is in use")
        self.scheduler.memory.drop_adapter(digest)
        self.decoder.drop_adapter(digest)

    @torch.inference_mode()
    def step(self) -> dict[Prompt, list[Generation]]:
        """Compute one step; return the requests that it finished."""
        batch = self.scheduler.schedule()
        read: dict[Prompt, list[Generation]] = {}
        rows: list[Row] = []
        logits: list[Tensor] = []
        if batch.spans:
            logits_BV = self.decoder(batch.spans, self.cache)
            self.scheduler.computed(batch)
            rows, logits = self._take_logits(batch, logits_BV)
            read = self._finish_read(batch)
        started = self.scheduler.start_sequences()
        rows += [(sequence, 0) for sequence in started]
        logits += self._first_logits(started)
        for sequence in started:
            self._try(sequence, sequence.follow)
        return read | self._postprocess(rows, logits)

    def _check(self, prompt: Prompt) -> None:
        request = prompt.request
        has_room = request.max_tokens >= 1 or request.hidden
        if not request.prompt_ids or not request.draws or not has_room:
            raise EngineError("a request needs a prompt, a draw and room for a token")
        vocab_size = self.decoder.config.vocab_size
        if not 0 <= min(request.prompt_ids) <= max(request.prompt_ids) < vocab_size:
            raise EngineError("the prompt holds a token that the vocabulary does not have")
        if request.adapter and request.adapter not in self.decoder.adapters:
            raise EngineError(f"the engine has no adapter {request.adapter!r}")
        most = self.scheduler.max_sequences
        if request.beams and not len(request.draws) <= request.beams <= most:
            raise EngineError(f"a beam search needs a beam for each draw and at most {most} beams")
        if request.beams and request.constraint is not None:
            raise EngineError("a beam search follows no constraint")
        total = prompt.num_tokens + request.max_tokens
        what = f"{prompt.num_tokens} prompt tokens and up to {request.max_tokens} new ones"
        if total > self.context_length:
            raise ContextLengthError(
                f"{what} do not fit the model's context of {self.context_length} tokens"
            )
        needed = prompt.num_shared_blocks + 1 + prompt.num_own_blocks
        if needed > self.cache.num_blocks:
            raise ContextLengthError(f"{what} do not fit the cache; give it more memory")

    @staticmethod
    def _take_logits(batch: Batch, logits_BV: Tensor) -> tuple[list[Row], list[Tensor]]:
        """The rows of sequences, (V,) each; prompts store theirs."""
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
        """One row for each sequence that starts: the logits after its prompt."""
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
        """Sample from the rows after last tokens, score by the others; return finished requests."""
        done: dict[Prompt, list[Generation]] = {}
        sampled: list[int] = []
        beams_of: dict[Prompt, list[int]] = {}
        for row, (sequence, at) in enumerate(rows):
            if not sequence.ending and at == len(sequence.token_ids):
                searches = sequence.prompt.request.beams
                (beams_of.setdefault(sequence.prompt, []) if searches else sampled).append(row)
        if sampled:
            self._sample([rows[row][0] for row in sampled], [logits[row] for row in sampled])
        for prompt, beams in beams_of.items():
            logits_BV = torch.stack([logits[row] for row in beams])
            self._search(prompt, [rows[row][0] for row in beams], logits_BV, done)
        self._score(rows, logits)
        for sequence in dict.fromkeys(sequence for sequence, _ in rows if sequence.ending):
            assert sequence.ending is not None
            if not sequence.num_unscored and sequence.prompt in self._finished:
                self._finish(sequence, sequence.ending, done)
        return done

    def _sample(self, sequences: list[Sequence], logits: list[Tensor]) -> None:
        """Sample one token for each sequence."""
        rules = [s.prompt.request.rule for s in sequences]
        noise = [
            uniform(s.draw_key, len(s.token_ids)) if rule.temperature else 0.0
            for s, rule in zip(sequences, rules, strict=True)
        ]
        masks = [None if s.matcher is None else self._try(s, s.matcher.allowed) for s in sequences]
        allowed = [
            logits_V if mask is None else without_others(logits_V, mask)
            for logits_V, mask in zip(logits, masks, strict=True)
        ]
        tokens = self.decoder.sample(allowed, rules, noise)
        self._num_drawn += len(tokens)
        for sequence, token in zip(sequences, tokens, strict=True):
            if sequence.matcher is None:
                sequence.take(token)
            else:
                self._try(sequence, partial(sequence.take, token))

    def _try(self, sequence: Sequence, action: Callable[[], _T]) -> _T | None:
        """Run an action for a sequence; if its constraint fails, its request fails."""
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
        """Record log-probabilities of sampled and forced tokens for requests that want them."""
        asked = [
            (row, sequence, sequence.token_ids[at])
            for row, (sequence, at) in enumerate(rows)
            if sequence.prompt.request.logprobs
            and sequence.num_unscored
            and at < len(sequence.token_ids)
        ]
        if not asked:
            return
        logits_RV = matrix_of([logits[row] for row, _, _ in asked])
        tokens_R = torch.tensor([token for _, _, token in asked], device=logits_RV.device)
        at = [sequence.prompt.request.logprobs_at for _, sequence, _ in asked]
        if any(temperature != 1 for temperature in at):
            logits_RV = logits_RV / torch.tensor(at, device=logits_RV.device).unsqueeze(1)
        logprobs_R = token_logprobs(logits_RV, tokens_R)
        for (_, sequence, _), logprob in zip(asked, logprobs_R.tolist(), strict=True):
            sequence.logprobs.append(logprob)

    def _search(
        self,
        prompt: Prompt,
        beams: list[Sequence],
        logits_BV: Tensor,
        done: dict[Prompt, list[Generation]],
    ) -> None:
        """Continue the beams of a search by a token, or end it."""
        search, num_cached = self._searches[prompt], beams[0].num_cached
        running = search.advance(beams, logits_BV)
        self._num_drawn += len(running)
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
        done[prompt] = search.results(num_cached)

    def _finish_read(self, batch: Batch) -> dict[Prompt, list[Generation]]:
        """Finish the requests that sample nothing and whose prompt is computed."""
        done: dict[Prompt, list[Generation]] = {}
        for text, span in zip(batch.texts, batch.spans, strict=True):
            if span.hidden_E is not None:
                assert isinstance(text, Prompt)
                cached, draw = text.num_cached, text.request.draws[0]
                self.scheduler.finish_prompt(text)
                del self._finished[text]
                done[text] = [Generation(draw, (), None, "stop", cached, hidden_E=span.hidden_E)]
        return done

    def _finish(
        self, sequence: Sequence, reason: FinishReason, done: dict[Prompt, list[Generation]]
    ) -> None:
        prompt, request = sequence.prompt, sequence.prompt.request
        self.scheduler.finish(sequence)
        results = self._finished[prompt]
        results[sequence.index] = Generation(
            draw=request.draws[sequence.index],
            token_ids=tuple(sequence.token_ids),
            logprobs=tuple(sequence.logprobs) if request.logprobs else None,
            finish_reason=reason,
            cached_tokens=sequence.num_cached,
            ended_by=sequence.ended_by,
        )
        if not prompt.is_unfinished:
            done[prompt] = [g for g in self._finished.pop(prompt) if g is not None]
