"""Pipelines of the transformers library for text generation, as language models."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from typing import Any

from archon.errors import LMError, UsageError
from archon.lm.base import check_request
from archon.lm.cache_keys import prompt_digest, sample_hash
from archon.lm.openai.payload import transcript
from archon.lm.reasoning import send_completion
from archon.types import DEFAULT_SAMPLING, Completion, OnEvent, Request, Usage

_SENT = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


def is_pipeline(model: object) -> bool:
    """Return True for a pipeline of the transformers library."""
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(model).__mro__}
    return "transformers.pipelines.base.Pipeline" in kinds


class PipelineLM:
    """A text-generation pipeline as a language model.

    The samples of a request are generated in one batch, in a thread, one request at a time. The
    generator of random numbers is seeded for each request, so a repeated request gives the same
    texts. The prompt is made by the tokenizer's chat template; without one, it is plain text.

    Parameters
    ----------
    pipeline
        A ``transformers.TextGenerationPipeline``.
    name
        Name of the model in errors and notes; by default, the name of its weights.

    Raises
    ------
    UsageError
        The pipeline is for another task.
    """

    capabilities = frozenset({"chat"})

    def __init__(self, pipeline: Any, name: str | None = None) -> None:
        self.name = name or getattr(pipeline.model, "name_or_path", "") or "the pipeline"
        if pipeline.task != "text-generation":
            raise UsageError(
                f"the pipeline of {self.name} is for {pipeline.task}; make one for "
                '"text-generation"'
            )
        self._pipeline, self._lock = pipeline, threading.Lock()

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Generate the samples in a batch.

        Raises
        ------
        UnsupportedError
            The request needs more than a text, such as log-probabilities.
        LMError
            The pipeline failed.
        """
        check_request(request, self.capabilities, self.name)
        try:
            completions = await asyncio.to_thread(self._generated, request)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise LMError(f"the pipeline of {self.name} failed: {reason}") from error
        if on_event is not None:
            for completion in completions:
                send_completion(completion, on_event)
        return completions

    def _generated(self, request: Request) -> list[Completion]:
        torch = sys.modules["torch"]  # the pipeline has imported it
        sampling = request.sampling.over(DEFAULT_SAMPLING)
        tokenizer = self._pipeline.tokenizer
        digest = prompt_digest(self.name, request.messages)
        options: dict[str, Any] = {"max_new_tokens": sampling.max_tokens, "do_sample": False}
        if sampling.temperature:
            options |= {name: getattr(sampling, name) for name in _SENT}
            options |= {"do_sample": True, "num_return_sequences": request.n}
        options = {name: value for name, value in options.items() if value is not None}
        text = self._prompt(request)
        with self._lock:
            seed = sample_hash(digest, request.seed, request.first_draw, bits=31)
            torch.manual_seed(seed)
            found = self._pipeline(
                text, return_tensors=True, add_special_tokens=self._adds_special, **options
            )
        num_prompt = len(tokenizer(text, add_special_tokens=self._adds_special)["input_ids"])
        made = [[int(token) for token in one["generated_token_ids"]] for one in found]
        made = made if sampling.temperature else made * request.n  # greedy texts are equal
        return [
            self._completion(ids[num_prompt:], request, request.first_draw + i, digest, num_prompt)
            for i, ids in enumerate(made)
        ]

    @property
    def _adds_special(self) -> bool:
        return not self._pipeline.tokenizer.chat_template

    def _prompt(self, request: Request) -> str:
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        tokenizer = self._pipeline.tokenizer
        if not tokenizer.chat_template:
            return transcript(request.messages)
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(text)

    def _completion(
        self, ids: Sequence[int], request: Request, draw: int, digest: str, num_prompt: int
    ) -> Completion:
        """Return a sample; its tokens end with the first end-of-text token."""
        end = next((i for i, token in enumerate(ids) if token in self._ends), None)
        ids = ids if end is None else ids[: end + 1]
        text = self._pipeline.tokenizer.decode(ids, skip_special_tokens=True)
        stops = [at for stop in request.sampling.stop or () if (at := text.find(stop)) >= 0]
        is_ended = end is not None or bool(stops)
        count = len(ids)
        return Completion(
            text=text[: min(stops)] if stops else text,
            draw=draw,
            finish_reason="stop" if is_ended else "length",
            usage=Usage(num_prompt, 0, count, count, 0, 1),
            prompts={digest: num_prompt},
        )

    @property
    def _ends(self) -> set[int]:
        """The tokens that end a text."""
        pipeline = self._pipeline
        config = getattr(pipeline, "generation_config", None) or pipeline.model.generation_config
        ends = config.eos_token_id
        listed = ends if isinstance(ends, list) else [ends, pipeline.tokenizer.eos_token_id]
        return {int(token) for token in listed if token is not None}
