"""Engine of a model that the transformers library computes.

It has the interface of ``archon.engine.engine.Engine`` and samples with the same code, from the
same noise. Requests are computed one after another (``queue``).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.engine import Engine, EngineOptions, Row
from archon.engine.sampling.request import Generation
from archon.engine.scheduling.sequence import Prompt
from archon.engine.transformers.decoder import Reading, TransformersDecoder
from archon.engine.transformers.queue import RequestQueue
from archon.errors import EngineError
from archon.types import ModelStatus


class TransformersEngine(Engine):
    """A model of the transformers library with its queue of requests.

    Parameters
    ----------
    decoder
        The model.
    model_id
        Digest of the weights, which is part of every sample's key.
    context_length
        Maximum number of tokens of prompt and completion together; by default the model's.
    """

    # Neither has blocks of keys and values, with which the methods below do without.
    decoder: Any
    scheduler: Any

    def __init__(
        self,
        decoder: TransformersDecoder,
        model_id: str = "",
        options: EngineOptions | None = None,
        context_length: int | None = None,
    ) -> None:
        self._model = decoder
        self.library = f"transformers {decoder.version}"
        options = options or EngineOptions(max_sequences=64, max_step_tokens=256)
        super().__init__(cast(SpanDecoder, decoder), model_id, options, context_length)

    def _new_scheduler(self, options: EngineOptions) -> Any:
        self._chunk_length = options.max_step_tokens
        if self._model.reading is not Reading.CHUNKS:
            self._chunk_length = self._model.config.context_length  # a prompt is never divided
        self._queue = RequestQueue(
            options.max_sequences, self._chunk_length, self._model.can_cut, options.cache_bytes
        )
        return self._queue

    def status(self) -> ModelStatus:
        """Return the current counts; any thread may call this."""
        queue = self._queue
        return ModelStatus(
            "decoding",
            num_running=len(queue.running),
            num_waiting=len(queue.arrived) + (queue.prompt is not None and not queue.running),
            generated_tokens=self._num_sampled,
            cached_prompt_share=(
                queue.num_cached_tokens / queue.num_prompt_tokens
                if queue.num_prompt_tokens
                else None
            ),
        )

    @torch.inference_mode()
    def step(self) -> dict[Prompt, list[Generation]]:
        """Compute a chunk of the prompt, or the next tokens of its sequences; return results."""
        queue = self._queue
        if queue.prompt is None:
            queue.next_prompt(self._model.start())
        prompt = queue.prompt
        assert prompt is not None
        rows: list[Row] = []
        logits: list[Tensor] = []
        if queue.running:
            rows, logits = self._continue_sequences()
        elif prompt.num_computed < prompt.num_tokens:
            self._continue_prompt(prompt)
        finished = self._postprocess(rows, logits)
        # If the last running sequence has just ended, the waiting ones start in the same step.
        if started := queue.start_sequences():
            first_logits = self._first_logits(started)
            for sequence in started:
                self._guard(sequence, sequence.add_forced)
            finished |= self._postprocess([(sequence, 0) for sequence in started], first_logits)
        return finished

    def _continue_prompt(self, prompt: Prompt) -> None:
        assert self._queue.prompt_rows is not None
        stop = min(prompt.num_tokens, prompt.num_computed + self._chunk_length)
        tokens = prompt.tokens(prompt.num_computed, stop)
        logits_1KV = self._model.compute(self._queue.prompt_rows, [tokens], 1)
        prompt.num_computed = stop
        if stop == prompt.num_tokens:
            prompt.last_logits_V = logits_1KV[0, -1]

    def _continue_sequences(self) -> tuple[list[Row], list[Tensor]]:
        """Compute the next tokens of the running sequences, the same number for each.

        It is 1, unless a constraint forces several tokens of every sequence and the model can read
        them together.
        """
        batch = self._queue.batch()
        sequences = list(self._queue.running)
        start = sequences[0].num_computed
        stop = min(s.num_needed for s in sequences)
        limit = self._chunk_length if self._model.reading is Reading.CHUNKS else 1
        stop = min(stop, start + limit)
        first = max(start, min(min(s.logits_from for s in sequences), stop - 1))
        tokens = [s.tokens(start, stop) for s in sequences]
        logits_BKV = self._model.compute(batch, tokens, stop - first)
        rows: list[Row] = []
        logits: list[Tensor] = []
        for sequence, logits_KV in zip(sequences, logits_BKV, strict=True):
            sequence.num_computed = stop
            for position in range(max(first, sequence.logits_from), stop):
                rows.append((sequence, position + 1 - sequence.prompt.num_tokens))
                logits.append(logits_KV[position - first])
        return rows, logits

    def _validate(self, prompt: Prompt) -> None:
        super()._validate(prompt)
        if prompt.request.hidden:
            raise EngineError("the transformers library computes no hidden states for reward heads")

    def _check_cache(self, prompt: Prompt) -> None:
        """Accept any request: the queue limits the samples that run together."""
