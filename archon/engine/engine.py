"""One step after another: schedule, run, postprocess.

``Engine`` is synchronous and belongs to one thread; ``archon.engine.worker`` puts it behind
asyncio. A request is given in with ``add`` and comes back from the ``step`` that finishes its last
sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archon.engine.beam_search import BeamSearch
from archon.engine.sampler import draw_key, sample, token_logprobs, uniform
from archon.engine.scheduler import Batch, Scheduler
from archon.engine.sequence import FinishReason, Generation, GenerationRequest, Prompt, Sequence
from archon.engine.span import SpanDecoder
from archon.errors import ContextLengthError, EngineError


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine may use."""

    cache_bytes: int = 2 << 30
    """Memory for keys and values."""
    max_sequences: int = 512
    """Sequences that decode at once."""
    max_step_tokens: int = 1024
    """Tokens that one step computes at most."""


class Engine:
    """A decoder, its cache and its scheduler.

    Parameters
    ----------
    decoder : the model.
    model_id : what draws depend on besides the request: a digest of the weights.
    context_length : tokens of prompt and completion together; by default the model's own.
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
        self._searches: dict[Prompt, BeamSearch] = {}

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work

    def add(self, request: GenerationRequest) -> Prompt:
        """Take a request in; the returned prompt is its handle.

        Raises
        ------
        ContextLengthError : it does not fit the model's context, or the whole cache.
        EngineError : an empty prompt, or a token that the vocabulary does not have.
        """
        prompt = Prompt(request)
        self._check(prompt)
        self._finished[prompt] = [None] * len(request.draws)
        if request.beams:
            self._searches[prompt] = BeamSearch(request)
        for sequence in prompt.waiting:
            draw = request.draws[sequence.index]
            sequence.draw_key = draw_key(request, draw, self.model_id)
        self.scheduler.arrive(prompt)
        return prompt

    def cancel(self, prompt: Prompt) -> None:
        """Forget a request that has not come back; its memory is free at once."""
        self._searches.pop(prompt, None)
        if self._finished.pop(prompt, None) is not None:
            self.scheduler.cancel(prompt)

    @torch.inference_mode()
    def step(self) -> dict[Prompt, list[Generation]]:
        """Compute one step; returns the requests that it finished."""
        batch = self.scheduler.schedule()
        drawing: list[Sequence] = []
        logits: list[Tensor] = []
        if batch.spans:
            logits_BV = self.decoder(batch.spans, self.cache)
            self.scheduler.computed(batch)
            drawing, logits = self._take_logits(batch, logits_BV)
        started = self.scheduler.start_sequences()
        logits += self._first_logits(started)
        if not logits:
            return {}
        return self._draw([*drawing, *started], torch.cat(logits) if logits[1:] else logits[0])

    def _check(self, prompt: Prompt) -> None:
        request = prompt.request
        if not request.prompt_ids or not request.draws or request.max_tokens < 1:
            raise EngineError("a request needs a prompt, a draw and room for a token")
        vocab_size = self.decoder.config.vocab_size
        if not 0 <= min(request.prompt_ids) <= max(request.prompt_ids) < vocab_size:
            raise EngineError("the prompt holds a token that the vocabulary does not have")
        most = self.scheduler.max_sequences
        if request.beams and not len(request.draws) <= request.beams <= most:
            raise EngineError(f"a beam search needs a beam for each draw and at most {most} beams")
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
    def _take_logits(batch: Batch, logits_BV: Tensor) -> tuple[list[Sequence], list[Tensor]]:
        """The sequences that draw a token now and their rows; prompts keep theirs for later."""
        drawing: list[Sequence] = []
        rows: list[int] = []
        row = 0
        for text, span in zip(batch.texts, batch.spans, strict=True):
            if isinstance(text, Sequence):
                drawing += [text] * span.num_logits
                rows += range(row, row + span.num_logits)
            elif span.num_logits:
                text.last_logits_V = logits_BV[row].clone()
            row += span.num_logits
        if rows == list(range(len(rows))):
            return drawing, [logits_BV[: len(rows)]] if rows else []
        return drawing, [logits_BV[rows]]

    @staticmethod
    def _first_logits(started: list[Sequence]) -> list[Tensor]:
        """A row for each sequence that starts: the logits after its prompt."""
        rows: list[Tensor] = []
        for sequence in started:
            prompt = sequence.prompt
            assert prompt.last_logits_V is not None
            rows.append(prompt.last_logits_V.unsqueeze(0))
        for sequence in started:
            if not sequence.prompt.waiting:
                sequence.prompt.last_logits_V = None
        return rows

    def _draw(self, sequences: list[Sequence], logits_BV: Tensor) -> dict[Prompt, list[Generation]]:
        """A token more for each sequence; returns the requests that this finishes."""
        done: dict[Prompt, list[Generation]] = {}
        rows_of: dict[Prompt | None, list[int]] = {}
        for row, sequence in enumerate(sequences):
            beams = sequence.prompt.request.beams
            rows_of.setdefault(sequence.prompt if beams else None, []).append(row)
        for prompt, rows in rows_of.items():
            here = sequences if len(rows_of) == 1 else [sequences[row] for row in rows]
            here_BV = logits_BV if len(rows_of) == 1 else logits_BV[rows]
            if prompt is None:
                self._sample(here, here_BV, done)
            else:
                self._search(prompt, here, here_BV, done)
        return done

    def _sample(
        self,
        sequences: list[Sequence],
        logits_BV: Tensor,
        done: dict[Prompt, list[Generation]],
    ) -> None:
        rules = [s.prompt.request.rule for s in sequences]
        noise = [
            uniform(s.draw_key, len(s.token_ids)) if rule.temperature else 0.0
            for s, rule in zip(sequences, rules, strict=True)
        ]
        tokens_B = sample(logits_BV, rules, noise)
        logprobs: list[float] | None = None
        if any(s.prompt.request.logprobs for s in sequences):
            logprobs = token_logprobs(logits_BV, tokens_B).tolist()
        for row, token in enumerate(tokens_B.tolist()):
            sequence = sequences[row]
            if logprobs is not None:
                sequence.logprobs.append(logprobs[row])
            reason = self._append(sequence, token)
            if reason is not None:
                self._finish(sequence, reason, token, done)

    def _search(
        self,
        prompt: Prompt,
        beams: list[Sequence],
        logits_BV: Tensor,
        done: dict[Prompt, list[Generation]],
    ) -> None:
        """Let the beams of a search go on by a token, or end it."""
        search, num_cached = self._searches[prompt], beams[0].num_cached
        running = search.advance(beams, logits_BV)
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

    @staticmethod
    def _append(sequence: Sequence, token: int) -> FinishReason | None:
        """Add a token to a sequence; returns why the sequence is finished, if it is."""
        request = sequence.prompt.request
        if token in request.stop_ids:
            return "stop"
        sequence.append(token)
        if request.on_token is not None and request.on_token(sequence.index, token):
            return "stop"
        return "length" if len(sequence.token_ids) >= request.max_tokens else None

    def _finish(
        self,
        sequence: Sequence,
        reason: FinishReason,
        last_token: int,
        done: dict[Prompt, list[Generation]],
    ) -> None:
        prompt, request = sequence.prompt, sequence.prompt.request
        self.scheduler.finish(sequence)
        num_tokens = len(sequence.token_ids)
        results = self._finished[prompt]
        results[sequence.index] = Generation(
            draw=request.draws[sequence.index],
            token_ids=tuple(sequence.token_ids),
            logprobs=tuple(sequence.logprobs[:num_tokens]) if request.logprobs else None,
            finish_reason=reason,
            cached_tokens=sequence.num_cached,
            ended_by=last_token if last_token in request.stop_ids else None,
        )
        if not prompt.is_unfinished:
            done[prompt] = [g for g in self._finished.pop(prompt) if g is not None]
