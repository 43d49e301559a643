"""``LocalLM``: a decoder in the local engine as a language model."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from archon.engine.kernels.native import NativeDecoder
from archon.engine.model.config import DecoderConfig
from archon.engine.process import claim_process
from archon.engine.sampling.constraint import ConstraintError, TokenConstraint
from archon.engine.sampling.request import Generation, GenerationRequest, OnToken, TokenBiasError
from archon.engine.sampling.sampler import SamplingRule
from archon.engine.scheduling.choices import score_request, total_logprob
from archon.engine.worker import EngineWorker
from archon.errors import UnsupportedError
from archon.lm.base import NO_THINKING, check_request, with_defaults
from archon.lm.cache_keys import request_digest
from archon.lm.compute import ComputeModel
from archon.lm.factory import LOCAL_CAPABILITIES
from archon.lm.local.card_loading import open_decoder, release
from archon.lm.local.chat import ChatFormat, ChatPrompt, text_length
from archon.lm.local.compute import decoder_compute
from archon.lm.local.constraint import ConstraintCompiler
from archon.lm.local.detokenizer import Detokenizer
from archon.lm.local.reasoning_constraint import ReasoningConstraint, ReasoningRules
from archon.lm.local.tokenizer import LONG_TEXT, TextTokenizer
from archon.lm.reasoning import constrains_whole_text, separate
from archon.lm.thinking import switches, template_variables
from archon.lm.tool_calls.grammar import call_grammar
from archon.lm.tool_calls.parsing import with_tool_calls
from archon.lm.tool_calls.stream import ToolCallEvents
from archon.reasoning import PUBLISHED_MARKERS, Part, ReasoningMarkers
from archon.spec.model import LocalCard
from archon.types import (
    DEFAULT_SAMPLING,
    SAMPLER_PARAMETERS,
    Completion,
    Message,
    ModelStatus,
    OnEvent,
    Request,
    SamplingParams,
    Thinking,
    TokenDelta,
    TokenLogprob,
    Tool,
    Usage,
)

_VERSION = 2
"""Increment when code that changes samples is modified, so that pools do not return older ones."""
_GREEDY_BELOW = 1e-6
"""Temperatures below this count as 0.

Dividing by them could overflow, and only the most likely token would be sampled anyway."""


def load(card: LocalCard, base_dir: Path) -> LocalLM:
    """Load a card's decoder into an engine; download its weights if necessary.

    Raises
    ------
    ModelError
        The weights are unavailable.
    ModelFileError
        The weights cannot be run.
    """
    opened = open_decoder(card, base_dir)
    sampling = card.sampling.params() if card.sampling else SamplingParams()
    return LocalLM(
        opened.worker,
        opened.tokenizer,
        opened.chat,
        sampling,
        opened.adapter,
        card.thinking_params(),
        card.markers(),
    )


class LocalLM:
    """A decoder in the local engine as a language model.

    All concurrent calls share the engine's batch, even calls from different event loops. A sample's
    random numbers depend only on its request. With the compiled kernels, its logits are identical
    regardless of the other rows in the batch; without them, they are equal up to rounding.

    Parameters
    ----------
    sampling
        Default values for sampling parameters that a request does not set.
    adapter
        Digest of the adapter; empty if there is none.
    thinking
        Default values for thinking parameters that a request does not set.
    reasoning_markers
        Markers around the model's reasoning.
    """

    def __init__(
        self,
        worker: EngineWorker,
        tokenizer: TextTokenizer,
        chat: ChatFormat,
        sampling: SamplingParams,
        adapter: str = "",
        thinking: Thinking = NO_THINKING,
        reasoning_markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
    ) -> None:
        self.worker, self.tokenizer, self.chat = worker, tokenizer, chat
        self._adapter = adapter
        self._sampling = sampling.over(DEFAULT_SAMPLING)
        self._constraints = ConstraintCompiler(tokenizer)
        self._thinking = thinking
        self.reasoning_markers = tuple(reasoning_markers)
        self._rules = ReasoningRules(reasoning_markers, tokenizer, chat.template)
        self._switches = switches(chat.template)
        self._tool_format = chat.tool_format
        self.capabilities = LOCAL_CAPABILITIES
        if self._tool_format is None:
            self.capabilities -= {"tools"}

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Answer a request; see ``archon.lm.base.LM``.

        Raises
        ------
        UnsupportedError
            The request asks for fewer than one sample, contains an empty choice, or has a
            constraint that cannot be satisfied.
        EngineError
            The prompt does not fit in the context, or the engine failed.
        """
        request = with_defaults(request, self._sampling, self._thinking)
        check_request(request, self.capabilities, "the local engine")
        claim_process()  # before the template is rendered by a process that a forked child shares
        rendered = await self._rendered(request.messages, request.thinking, request.offered_tools)
        notes = (*rendered.notes, *self._notes(request.thinking))
        if request.choices is not None:
            completions = await self._score(request, request.choices, rendered.ids)
        else:
            completions = await self._generate_calls(request, rendered.ids, on_event)
        return [replace(c, notes=(*notes, *c.notes)) for c in completions]

    async def _generate_calls(
        self, request: Request, prompt_ids: tuple[int, ...], on_event: OnEvent | None
    ) -> list[Completion]:
        """Generate, and separate calls of the request's tools from the texts."""
        if not request.offered_tools or self._tool_format is None:
            return await self._generate(request, prompt_ids, on_event)
        events = None if on_event is None else ToolCallEvents(on_event, self._tool_format)
        completions = [
            with_tool_calls(completion, self._tool_format, request)
            for completion in await self._generate(request, prompt_ids, events)
        ]
        if events is not None:
            events.finish(completions)
        return completions

    async def _generate(
        self, request: Request, prompt_ids: tuple[int, ...], on_event: OnEvent | None
    ) -> list[Completion]:
        opened_by = self._rules.opened_by(prompt_ids)
        is_open = self._is_open(request, opened_by)
        grammar = self._tool_grammar(request)
        constraint = await self._constraint(request, opened_by, is_open, grammar)
        # If a constraint applies to the complete text, the text has no reasoning. With a
        # ReasoningConstraint, reasoning may precede it.
        may_reason = isinstance(constraint, ReasoningConstraint)
        is_constrained = constrains_whole_text(request.constraint) or grammar is not None
        is_answer = is_constrained and not may_reason
        markers = () if is_answer else self.reasoning_markers
        streams = [
            Detokenizer(
                self.tokenizer,
                request.sampling.stop or (),
                markers,
                is_open=is_open,
                token_bytes=self._token_bytes(request),
            )
            for _ in range(request.n)
        ]
        on_token = self._on_token(streams, request.first_draw, on_event)
        engine_request = generation_request(request, prompt_ids, self.tokenizer.stop_ids, on_token)
        try:
            generations = await self.worker.generate(
                replace(
                    engine_request,
                    hold=request.hold,
                    constraint=constraint,
                    adapter=self._adapter,
                )
            )
        except ConstraintError as error:  # for example, no finite text satisfies a schema
            field = "constraint" if grammar is None else "tools"
            raise UnsupportedError(str(error), field=field) from None
        except TokenBiasError as error:
            raise UnsupportedError(str(error), field="logit_bias") from None
        prompt = {self._digest(prompt_ids): len(prompt_ids)}
        completions = [
            self._completion(generation, stream, prompt, on_event)
            for generation, stream in zip(generations, streams, strict=True)
        ]
        return [separate(completion, markers, is_open) for completion in completions]

    def _is_open(self, request: Request, opened_by: ReasoningMarkers | None) -> bool:
        """Return True if replies begin within reasoning."""
        begins_open = any(not m.start for m in self.reasoning_markers)
        return opened_by is not None or (begins_open and request.thinking.wanted is not False)

    def _reasons_first(self, request: Request, is_open: bool) -> bool:
        """Return True if the model may reason before the request's constraint applies."""
        if self._tool_grammar(request) is not None:
            return is_open or (self._rules.is_used and request.thinking.wanted is True)
        if request.constraint is None:
            return False
        if constrains_whole_text(request.constraint):
            return is_open or (self._rules.is_used and request.thinking.wanted is True)
        return is_open or self._rules.is_used or request.thinking.max_tokens is not None

    async def _constraint(
        self,
        request: Request,
        opened_by: ReasoningMarkers | None,
        is_open: bool,
        grammar: str | None,
    ) -> TokenConstraint | None:
        """Convert the request's constraint and limit on reasoning to the engine's constraint."""
        budget, beams = request.thinking.max_tokens, request.sampling.beams
        compiled = None
        if request.constraint is not None or grammar is not None:
            if beams:
                raise UnsupportedError(
                    "beam search does not support constraints", field="constraint"
                )
            # The first compilation may take half a second.
            if grammar is not None:
                compiled = await asyncio.to_thread(self._constraints.compile_grammar, grammar)
            elif request.constraint is not None:
                compiled = await asyncio.to_thread(self._constraints.compile, request.constraint)
            if not self._reasons_first(request, is_open):
                return compiled
        elif budget is None:
            return None
        elif beams:
            raise UnsupportedError("beam search does not support 'max_thinking_tokens'")
        return ReasoningConstraint(
            self._rules,
            self.tokenizer,
            compiled,
            opened_by=opened_by,
            is_open=is_open,
            begins=constrains_whole_text(request.constraint) or grammar is not None,
            budget=budget,
        )

    def _notes(self, thinking: Thinking) -> tuple[str, ...]:
        """Return a note if the request turns thinking on or off but the chat template cannot."""
        if thinking.wanted is None or self._switches:
            return ()
        return ("the chat template cannot turn thinking on or off; 'thinking' has no effect",)

    def _tool_grammar(self, request: Request) -> str | None:
        """Return the grammar of replies that the request's choice of tools allows, if any."""
        if self._tool_format is None:
            return None
        special = {
            name: token
            for name, token in self.tokenizer.special_ids.items()
            if token in self.tokenizer.no_text_ids
        }
        return call_grammar(request, self._tool_format, special)

    def _token_bytes(self, request: Request) -> Callable[[int], bytes]:
        """Return the function that decodes a token; markers of tool calls are part of the text."""
        if not request.offered_tools or not self._marker_bytes:
            return self._rules.token_bytes
        return lambda token: self._marker_bytes.get(token) or self._rules.token_bytes(token)

    @cached_property
    def _marker_bytes(self) -> dict[int, bytes]:
        """Control tokens in the notation of tool calls → their names."""
        markers = () if self._tool_format is None else self._tool_format.special
        special, control = self.tokenizer.special_ids, self.tokenizer.control_ids
        return {special[m]: m.encode() for m in markers if m in special and special[m] in control}

    async def _rendered(
        self, messages: tuple[Message, ...], thinking: Thinking, tools: tuple[Tool, ...] = ()
    ) -> ChatPrompt:
        """Render and encode the prompt, in a thread if it is long."""
        variables = template_variables(thinking, self._switches)
        if sum(map(text_length, messages)) <= LONG_TEXT:
            return self.chat.prompt(messages, variables, tools)
        return await asyncio.to_thread(self.chat.prompt, messages, variables, tools)

    @property
    def compute_model(self) -> ComputeModel | None:
        """See ``archon.lm.compute.HasCompute``; None if the transformers library computes it."""
        config = self.worker.engine.decoder.config
        return decoder_compute(config) if isinstance(config, DecoderConfig) else None

    def draw_key(self, request: Request) -> str | None:
        """See ``archon.lm.base.SupportsDrawKey``; None if the weights have no digest."""
        engine = self.worker.engine
        if engine.model_id.startswith(":"):
            return None
        by = "kernels" if isinstance(engine.decoder, NativeDecoder) else engine.library
        adapter = self._adapter or None
        request = with_defaults(request, self._sampling, self._thinking)
        variables = template_variables(request.thinking, self._switches)
        prompt_ids = self.chat.prompt(request.messages, variables, request.offered_tools).ids
        is_open = self._is_open(request, self._rules.opened_by(prompt_ids))
        model = ["local", _VERSION, engine.model_id, adapter, by]
        if self._reasons_first(request, is_open):
            model.append(["reasons first", request.thinking.wanted])
        if is_open and request.choices is not None:
            model.append("behind reasoning")
        # All other thinking parameters have an effect only through the prompt.
        request = replace(request, thinking=Thinking(max_tokens=request.thinking.max_tokens))
        return request_digest(model, self._digest(prompt_ids), request, self.reasoning_markers)

    async def prompts_of(
        self, messages: Sequence[Message], thinking: Thinking = NO_THINKING
    ) -> Mapping[str, int]:
        """See ``archon.lm.base.SupportsPromptCount``."""
        rendered = await self._rendered(tuple(messages), thinking.over(self._thinking))
        return {self._digest(rendered.ids): len(rendered.ids)}

    async def _score(
        self, request: Request, choices: Sequence[str], prompt_ids: tuple[int, ...]
    ) -> list[Completion]:
        """Score each choice as the beginning of an answer. Every sample has the same scores.

        If the prompt ends within reasoning, the reasoning is closed before the choice.
        """
        opened_by = self._rules.opened_by(prompt_ids)
        if self._is_open(request, opened_by):
            prompt_ids += tuple(self._rules.closing_ids(opened_by))
        tokens = {choice: tuple(self.tokenizer.encode_continuation(choice)) for choice in choices}
        if not tokens or not all(tokens.values()):
            raise UnsupportedError(
                "a request for scored choices needs at least one choice, and none may be empty"
            )
        scoring = score_request(prompt_ids, list(tokens.values()), request.hold)
        scored = await self.worker.generate(replace(scoring, adapter=self._adapter))
        logprobs = dict(zip(tokens, map(total_logprob, scored), strict=True))
        cached = [scored[0].cached_tokens] + [len(prompt_ids)] * (request.n - 1)
        return [
            Completion(
                text="",
                draw=request.first_draw + index,
                finish_reason="choices",
                usage=Usage(
                    prompt_tokens=len(prompt_ids),
                    cached_tokens=cached[index],
                    choice_tokens=sum(map(len, tokens.values())),
                    calls=1,
                ),
                prompts={self._digest(prompt_ids): len(prompt_ids)},
                choice_logprobs=logprobs,
            )
            for index in range(request.n)
        ]

    def status(self) -> ModelStatus:
        """See ``archon.lm.base.SupportsStatus``."""
        return self.worker.engine.status()

    async def aclose(self) -> None:
        """Release the engine. Its thread stops when no other model uses the engine."""
        await asyncio.to_thread(release, self.worker)

    @staticmethod
    def _on_token(
        streams: Sequence[Detokenizer], first_draw: int, on_event: OnEvent | None
    ) -> OnToken:
        """Return the function that the engine calls for each of a sample's tokens.

        It decodes the token, sends new text to ``on_event``, and returns True if the text contains
        a stop string.
        """
        loop = asyncio.get_running_loop()

        def on_token(index: int, token: int) -> bool:
            for part in streams[index].feed(token):
                if on_event is not None:
                    # The event loop may have been closed.
                    with contextlib.suppress(RuntimeError):
                        loop.call_soon_threadsafe(on_event, _delta(first_draw + index, part))
            return streams[index].stopped

        return on_token

    def _completion(
        self,
        generation: Generation,
        stream: Detokenizer,
        prompt: dict[str, int],
        on_event: OnEvent | None,
    ) -> Completion:
        for part in stream.finish():
            if on_event is not None:
                on_event(_delta(generation.draw, part))
        return completion_of(generation, stream.text, prompt, self.tokenizer.token_bytes)

    def _digest(self, prompt_ids: Sequence[int]) -> str:
        ids = struct.pack(f"<{len(prompt_ids)}q", *prompt_ids)
        model = self.worker.engine.model_id + (f":{self._adapter}" if self._adapter else "")
        key = blake2b(model.encode(), digest_size=32).digest()
        return blake2b(ids, key=key, digest_size=16).hexdigest()


def _delta(draw: int, part: Part) -> TokenDelta:
    return TokenDelta(draw, part.text, is_reasoning=part.is_reasoning)


def completion_of(
    generation: Generation,
    text: str,
    prompt: Mapping[str, int],
    token_bytes: Callable[[int], bytes],
) -> Completion:
    """Convert the engine's generation to a completion.

    Parameters
    ----------
    text
        The decoded text.
    prompt
        Digest of the prompt → its number of tokens.
    token_bytes
        Function that returns the bytes of a token.
    """
    num_tokens = len(generation.token_ids)
    tokens = top = None
    if generation.logprobs is not None:
        tokens = tuple(map(token_bytes, generation.token_ids))
    if generation.top_logprobs is not None:
        top = tuple(
            tuple(TokenLogprob(logprob, token, token_bytes(token)) for token, logprob in likeliest)
            for likeliest in generation.top_logprobs
        )
    return Completion(
        text=text,
        draw=generation.draw,
        finish_reason=generation.finish_reason,
        usage=Usage(
            prompt_tokens=sum(prompt.values()),
            cached_tokens=generation.cached_tokens,
            completion_tokens=num_tokens,
            generated_tokens=num_tokens,
            calls=1,
        ),
        prompts=prompt,
        token_ids=generation.token_ids,
        logprobs=generation.logprobs,
        tokens=tokens,
        top_logprobs=top,
        score=generation.score,
    )


def generation_request(
    request: Request, prompt_ids: tuple[int, ...], stop_ids: frozenset[int], on_token: OnToken
) -> GenerationRequest:
    """Convert a request for a language model to a request for the engine.

    Pinned prompts, constraints and adapters are not converted, because only decoders support them.
    """
    return GenerationRequest(
        prompt_ids=prompt_ids,
        draws=tuple(range(request.first_draw, request.first_draw + request.n)),
        seed=request.seed,
        rule=sampling_rule(request.sampling),
        max_tokens=request.sampling.max_tokens or 1,
        stop_ids=stop_ids,
        logprobs=request.logprobs,
        top_logprobs=request.sampling.top_logprobs or 0,
        on_token=on_token,
        beams=request.sampling.beams or 0,
    )


def sampling_rule(sampling: SamplingParams) -> SamplingRule:
    """Convert sampling parameters to the engine's ``SamplingRule``."""
    values = {
        name: type(parameter.default)(value)
        for name, parameter in SAMPLER_PARAMETERS.items()
        if (value := getattr(sampling, name)) is not None
    }
    rule = SamplingRule(**values)
    return rule if rule.temperature >= _GREEDY_BELOW else replace(rule, temperature=0.0)
