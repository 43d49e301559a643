"""``TranslatorLM``: an encoder–decoder as a language model that maps one text to another.

The last message is the input text. Earlier messages are ignored.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from archon.engine.encoders.decoding import SequenceToSequence
from archon.engine.encoders.weights import load_encoder_decoder
from archon.engine.process import claim_process
from archon.engine.sampling.request import Generation, GenerationRequest
from archon.lm.base import NO_THINKING, check_request, with_defaults
from archon.lm.cache_keys import prompt_digest, request_digest
from archon.lm.compute import ComputeModel
from archon.lm.local.card_loading import check_vocabulary, pull_folder
from archon.lm.local.compute import encoder_decoder_compute
from archon.lm.local.detokenizer import Detokenizer
from archon.lm.local.lm import completion_of, generation_request
from archon.lm.local.tokenizer import TextTokenizer, read_tokenizer_config
from archon.spec.model import TRANSLATOR_CAPABILITIES, LocalCard
from archon.types import (
    DEFAULT_SAMPLING,
    Completion,
    Message,
    OnEvent,
    Request,
    SamplingParams,
    Thinking,
    TokenDelta,
)
from archon.weights import identity

_VERSION = 1
"""Increment when code that changes samples is modified, so that pools do not return older ones."""


def load(card: LocalCard, base_dir: Path) -> TranslatorLM:
    """Load a card's encoder–decoder; download its weights if necessary.

    Raises
    ------
    ModelError
        The weights are unavailable.
    ModelFileError
        The weights cannot be run, or they belong to a different type of model.
    """
    path, file = pull_folder(card, base_dir, "an encoder–decoder")
    model = load_encoder_decoder(file)
    tokenizer = TextTokenizer(read_tokenizer_config(file))
    check_vocabulary(path, tokenizer, model.config.vocab_size)
    sampling = card.sampling.params() if card.sampling else SamplingParams()
    return TranslatorLM(SequenceToSequence(model, identity(card, path)), tokenizer, sampling)


class TranslatorLM:
    """An encoder–decoder with its tokenizer. It processes one request at a time.

    Parameters
    ----------
    sampling
        Default values for sampling parameters that a request does not set.
    """

    capabilities = TRANSLATOR_CAPABILITIES

    def __init__(
        self, generator: SequenceToSequence, tokenizer: TextTokenizer, sampling: SamplingParams
    ) -> None:
        self._generator, self._tokenizer = generator, tokenizer
        self._sampling = sampling.over(DEFAULT_SAMPLING)
        self._lock = threading.Lock()

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Answer a request; see ``archon.lm.base.LM``. Each text is sent as one delta.

        Raises
        ------
        UnsupportedError
            The request asks for fewer than one sample, or needs a feature that an encoder–decoder
            lacks.
        """
        request = with_defaults(request, self._sampling)
        check_request(request, self.capabilities, "the encoder–decoder")
        claim_process()
        source = self._source(request.messages)
        stop = request.sampling.stop or ()
        streams = [Detokenizer(self._tokenizer, stop) for _ in range(request.n)]

        def on_token(index: int, token: int) -> bool:
            streams[index].feed(token)
            return streams[index].stopped

        stop_ids = frozenset({self._generator.model.config.stop_id})
        generations = await asyncio.to_thread(
            self._run, generation_request(request, source, stop_ids, on_token)
        )
        prompt = {self._digest(request.messages): len(source) + 1}
        completions = []
        for generation, stream in zip(generations, streams, strict=True):
            stream.finish()
            if stream.text and on_event is not None:
                on_event(TokenDelta(generation.draw, stream.text))
            token_bytes = self._tokenizer.token_bytes
            completions.append(completion_of(generation, stream.text, prompt, token_bytes))
        return completions

    @property
    def compute_model(self) -> ComputeModel:
        """See ``archon.lm.compute.HasCompute``."""
        return encoder_decoder_compute(self._generator.model.config)

    def draw_key(self, request: Request) -> str | None:
        """See ``archon.lm.base.SupportsDrawKey``; None if the weights have no digest."""
        model_id = self._generator.model_id
        if not model_id:
            return None
        request = with_defaults(request, self._sampling)
        prompt = self._digest(request.messages)
        return request_digest(["encoder-decoder", _VERSION, model_id], prompt, request)

    async def prompts_of(
        self, messages: Sequence[Message], thinking: Thinking = NO_THINKING
    ) -> Mapping[str, int]:
        """See ``archon.lm.base.SupportsPromptCount``."""
        return {self._digest(messages): len(self._source(messages)) + 1}

    def _run(self, request: GenerationRequest) -> list[Generation]:
        with self._lock:  # concurrent requests would only compete for the same cores
            return self._generator.generate(request)

    def _source(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(messages[-1].content))

    def _digest(self, messages: Sequence[Message]) -> str:
        return prompt_digest(self._generator.model_id, messages[-1:])
