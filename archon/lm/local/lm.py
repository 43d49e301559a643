"""``LocalLM``: the engine as a language model."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from archon.engine.kernels.native import NativeDecoder
from archon.engine.process import claim_process
from archon.engine.sampling.constraint import ConstraintError, TokenConstraint
from archon.engine.sampling.request import Generation, GenerationRequest, OnToken
from archon.engine.sampling.sampler import SamplingRule
from archon.engine.scheduling.choices import score_request, total_logprob
from archon.engine.worker import EngineWorker
from archon.errors import UnsupportedError
from archon.lm.base import NO_THINKING, check_request
from archon.lm.cache_keys import request_digest
from archon.lm.factory import LOCAL_CAPABILITIES
from archon.lm.local.chat import ChatFormat, ChatPrompt
from archon.lm.local.constraint import ConstraintCompiler
from archon.lm.local.opened import open_decoder
from archon.lm.local.reasoning import ReasoningForm, ReasoningRules
from archon.lm.local.sharing import leave
from archon.lm.local.stream import TextStream
from archon.lm.local.tokenizer import LONG_TEXT, TextTokenizer
from archon.lm.reasoning import is_whole_form, separate
from archon.lm.thinking import switches, template_variables
from archon.reasoning import PUBLISHED_MARKERS, Part, ReasoningMarkers
from archon.spec.model import LocalCard
from archon.types import (
    DEFAULT_SAMPLING,
    Completion,
    Message,
    ModelStatus,
    OnEvent,
    Request,
    SamplingParams,
    Thinking,
    TokenDelta,
    Usage,
)

_VERSION = 2
"""Changes with what a draw is made of, from the chat template to the sampler, so that no draw of
other code is found in a pool."""
_GREEDY_BELOW = 1e-6
"""A lower temperature leaves the likeliest token alone, and logits divided by it may overflow."""


def load(card: LocalCard, base_dir: Path) -> LocalLM:
    """Fetch the card's weights where they are not here yet, and load them into an engine.

    Raises
    ------
    ModelError : the weights cannot be had.
    ModelFileError : they cannot be run.
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
    """A decoder run by our own engine.

    Calls of any number of tasks and event loops meet in the engine's batch. A draw's noise depends
    on the request alone. So do its logits where compiled kernels compute them, to the bit;
    elsewhere they are the same to within rounding, whatever else is there.

    Parameters
    ----------
    sampling : the model's own defaults, under what a request says.
    adapter : digest of the adapter that it is run with; "" for none.
    thinking : how it reasons where a request says nothing.
    reasoning_markers : around its reasoning.
    """

    capabilities = LOCAL_CAPABILITIES

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

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Answer a request; see ``archon.lm.base.LM``.

        Raises
        ------
        UnsupportedError : the request asks for no draws, for empty choices, or for a constraint
            that cannot be followed.
        EngineError : the prompt does not fit, or the engine failed.
        """
        request = self._filled_in(request)
        check_request(request, self.capabilities, "the local engine")
        claim_process()  # before the template's process, which a forked child shares
        rendered = await self._rendered(request.messages, request.thinking)
        prompt_ids = rendered.ids
        notes = (*rendered.notes, *self._notes(request.thinking))
        if request.choices is not None:
            scored = await self._score(request, request.choices, prompt_ids)
            return [replace(completion, notes=notes) for completion in scored]
        sampling = request.sampling
        opened_by = self._rules.opened_by(prompt_ids)
        is_open = self._is_open(request, opened_by)
        form = await self._form(request, opened_by, is_open)
        # A form that binds the whole text has no reasoning, unless that comes before it.
        is_bound = is_whole_form(request.constraint) and not isinstance(form, ReasoningForm)
        markers = () if is_bound else self.reasoning_markers
        streams = [
            TextStream(
                self.tokenizer,
                sampling.stop or (),
                markers,
                is_open=is_open,
                token_bytes=self._rules.token_bytes,
            )
            for _ in range(request.n)
        ]
        asked = GenerationRequest(
            prompt_ids=prompt_ids,
            draws=tuple(range(request.first_draw, request.first_draw + request.n)),
            seed=request.seed,
            rule=sampling_rule(sampling),
            max_tokens=sampling.max_tokens or 1,
            stop_ids=self.tokenizer.stop_ids,
            logprobs=request.logprobs,
            on_token=self._on_token(streams, request.first_draw, on_event),
            beams=sampling.beams or 0,
            hold=request.hold,
            constraint=form,
            adapter=self._adapter,
        )
        try:
            generations = await self.worker.generate(asked)
        except ConstraintError as error:  # such as of a schema that no finite text follows
            raise UnsupportedError(str(error)) from None
        prompt = {self._digest(prompt_ids): len(prompt_ids)}
        completions = [
            self._completion(generation, stream, prompt, on_event)
            for generation, stream in zip(generations, streams, strict=True)
        ]
        return [
            replace(separate(completion, markers, is_open), notes=notes)
            for completion in completions
        ]

    def _filled_in(self, request: Request) -> Request:
        """The request with the model's own values where it leaves them open."""
        return replace(
            request,
            sampling=request.sampling.over(self._sampling),
            thinking=request.thinking.over(self._thinking),
        )

    def _is_open(self, request: Request, opened_by: ReasoningMarkers | None) -> bool:
        """Whether replies begin within reasoning."""
        begins_open = any(not m.start for m in self.reasoning_markers)
        return opened_by is not None or (begins_open and request.thinking.wanted is not False)

    def _reasons_first(self, request: Request, is_open: bool) -> bool:
        """Whether reasoning may come before what a form binds."""
        if request.constraint is None:
            return False
        if is_whole_form(request.constraint):
            return is_open or (self._rules.is_used and request.thinking.wanted is True)
        return is_open or self._rules.is_used or request.thinking.max_tokens is not None

    async def _form(
        self, request: Request, opened_by: ReasoningMarkers | None, is_open: bool
    ) -> TokenConstraint | None:
        """What the draws are held to."""
        budget, beams = request.thinking.max_tokens, request.sampling.beams
        form = None
        if request.constraint is not None:
            if beams:
                raise UnsupportedError("a beam search follows no constraint")
            # Preparing one takes a while, the first time.
            form = await asyncio.to_thread(self._constraints.compile, request.constraint)
            if not self._reasons_first(request, is_open):
                return form
        elif budget is None:
            return None
        elif beams:
            raise UnsupportedError("a beam search has no bound of the tokens of reasoning")
        begins = is_whole_form(request.constraint)
        return ReasoningForm(
            self._rules,
            self.tokenizer,
            form,
            opened_by=opened_by,
            is_open=is_open,
            begins=begins,
            budget=budget,
        )

    def _notes(self, thinking: Thinking) -> tuple[str, ...]:
        """What the chat template does not do of what was asked."""
        if thinking.wanted is None or self._switches:
            return ()
        return ("the chat template has no switch for thinking; it was not passed on",)

    async def _rendered(self, messages: tuple[Message, ...], thinking: Thinking) -> ChatPrompt:
        """The prompt; a long one is made where nobody waits for it."""
        variables = template_variables(thinking, self._switches)
        if sum(len(message.content) for message in messages) <= LONG_TEXT:
            return self.chat.prompt(messages, variables)
        return await asyncio.to_thread(self.chat.prompt, messages, variables)

    def draw_key(self, request: Request) -> str | None:
        """See ``archon.lm.base.Keyed``; None where the weights have no digest."""
        engine = self.worker.engine
        if engine.model_id.startswith(":"):
            return None
        by = "kernels" if isinstance(engine.decoder, NativeDecoder) else "torch"
        adapter = self._adapter or None
        request = self._filled_in(request)
        variables = template_variables(request.thinking, self._switches)
        prompt_ids = self.chat.prompt(request.messages, variables).ids
        is_open = self._is_open(request, self._rules.opened_by(prompt_ids))
        model = ["local", _VERSION, engine.model_id, adapter, by]
        if self._reasons_first(request, is_open):
            model.append(["reasons first", request.thinking.wanted])
        if is_open and request.choices is not None:
            model.append("behind reasoning")
        # What else thinking changes, the prompt says.
        request = replace(request, thinking=Thinking(max_tokens=request.thinking.max_tokens))
        return request_digest(model, self._digest(prompt_ids), request, self.reasoning_markers)

    async def prompts_of(
        self, messages: Sequence[Message], thinking: Thinking = NO_THINKING
    ) -> Mapping[str, int]:
        """See ``archon.lm.base.prompts_of``."""
        rendered = await self._rendered(tuple(messages), thinking.over(self._thinking))
        prompt_ids = rendered.ids
        return {self._digest(prompt_ids): len(prompt_ids)}

    async def _score(
        self, request: Request, choices: Sequence[str], prompt_ids: tuple[int, ...]
    ) -> list[Completion]:
        """How likely each choice is as the beginning of an answer: the same for every draw.

        Reasoning that the prompt begins is ended first.
        """
        opened_by = self._rules.opened_by(prompt_ids)
        if self._is_open(request, opened_by):
            prompt_ids += tuple(self._rules.closing_ids(opened_by))
        tokens = {choice: tuple(self.tokenizer.encode(choice)) for choice in choices}
        if not tokens or not all(tokens.values()):
            raise UnsupportedError(
                "a request for scored choices must name some, none of them empty"
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
        """What the engine is doing; see ``archon.lm.base.status_of``."""
        return self.worker.engine.status()

    async def aclose(self) -> None:
        """Leave the engine, whose thread stops with its last user."""
        await asyncio.to_thread(leave, self.worker)

    @staticmethod
    def _on_token(
        streams: Sequence[TextStream], first_draw: int, on_event: OnEvent | None
    ) -> OnToken:
        """What the engine's thread calls for each token: grows the text, sends it, stops it."""
        loop = asyncio.get_running_loop()

        def on_token(index: int, token: int) -> bool:
            for part in streams[index].feed(token):
                if on_event is not None:
                    # A loop that was closed meanwhile has nobody left to tell.
                    with contextlib.suppress(RuntimeError):
                        loop.call_soon_threadsafe(on_event, delta_of(first_draw + index, part))
            return streams[index].stopped

        return on_token

    def _completion(
        self,
        generation: Generation,
        stream: TextStream,
        prompt: dict[str, int],
        on_event: OnEvent | None,
    ) -> Completion:
        for part in stream.finish():
            if on_event is not None:
                on_event(delta_of(generation.draw, part))
        tokens = None
        if generation.logprobs is not None:
            tokens = tuple(map(self.tokenizer.token_bytes, generation.token_ids))
        return completion_of(generation, stream.text, prompt, tokens)

    def _digest(self, prompt_ids: Sequence[int]) -> str:
        ids = struct.pack(f"<{len(prompt_ids)}q", *prompt_ids)
        model = self.worker.engine.model_id + (f":{self._adapter}" if self._adapter else "")
        key = blake2b(model.encode(), digest_size=32).digest()
        return blake2b(ids, key=key, digest_size=16).hexdigest()


def delta_of(draw: int, part: Part) -> TokenDelta:
    """Some text of a draw as an event."""
    return TokenDelta(draw, part.text, is_reasoning=part.is_reasoning)


def completion_of(
    generation: Generation,
    text: str,
    prompt: Mapping[str, int],
    tokens: tuple[bytes, ...] | None = None,
) -> Completion:
    """What the engine generated behind a prompt (digest → tokens), as a completion."""
    num_tokens = len(generation.token_ids)
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
        score=generation.score,
    )


def sampling_rule(sampling: SamplingParams) -> SamplingRule:
    """How the engine draws for a request with this sampling."""
    temperature = float(sampling.temperature or 0)
    return SamplingRule(
        temperature=temperature if temperature >= _GREEDY_BELOW else 0.0,
        top_k=sampling.top_k or 0,
        top_p=1.0 if sampling.top_p is None else float(sampling.top_p),
        min_p=float(sampling.min_p or 0),
    )
