"""A deterministic scripted language model, which needs no weights and replies in microseconds.

A *token* of this model is a word with the white space before it. At temperature 0, the script is
always called with seed 0 and sample 0, so all samples are equal.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

from archon.errors import LMError, UnsupportedError
from archon.lm.base import LM_CAPABILITIES, NO_THINKING, check_request, with_defaults
from archon.lm.cache_keys import prompt_digest, request_digest, sample_hash
from archon.lm.compute import ComputeModel
from archon.lm.embedding import EMBED, Vector
from archon.lm.reasoning import constrains_whole_text, generate_separated
from archon.lm.reward import RewardLM, ScriptedRewardModel
from archon.lm.scripted.constrained import constrained_reply
from archon.lm.scripted.heuristic import HeuristicReward, HeuristicScript
from archon.reasoning import PUBLISHED_MARKERS, ReasoningMarkers, split_reasoning
from archon.spec.model import ScriptedCard
from archon.spec.thinking import CardThinkingKeys
from archon.types import (
    DEFAULT_SAMPLING,
    Completion,
    FinishReason,
    Message,
    OnEvent,
    Request,
    SamplingParams,
    Thinking,
    TokenDelta,
    TokenLogprob,
    Usage,
)

Script = Callable[[Request, int], str]
"""Function (request, sample number) → reply. The request sets all sampling parameters.
"""

ChoiceScript = Callable[[Request, str], float]
"""Function (request, choice) → log-probability of the choice."""

Replies = str | Sequence[str]

_VERSION = 2
"""Increment when the replies of cards change, so that pools do not return older samples."""

_TOKEN = re.compile(r"\s*\S+")
_CAPABILITIES = LM_CAPABILITIES - {"tools"}


class ScriptedLM:
    """A language model whose replies come from a script.

    Parameters
    ----------
    script
        Function that returns the replies, such as ``in_turn([...])``, ``by_rules({...})`` or
        ``HeuristicScript(0.6)``.
    model
        Name of the model in prompt digests and error messages.
    capabilities
        Capabilities of the model; by default all.
    choice_logprob
        Function that scores choices. By default, scores are hashes of the prompt and the choice,
        normalized over the choices.
    sampling, thinking
        Defaults for parameters that a request does not set.
    delay_seconds
        Duration of each call in seconds.
    record
        Whether to append every request to the ``requests`` attribute.
    identity
        Unique name of the script. Without it, samples are not stored in a pool.
    reasoning_markers
        Markers around reasoning in the replies.
    """

    def __init__(
        self,
        script: Script,
        *,
        model: str = "scripted",
        capabilities: frozenset[str] = _CAPABILITIES,
        choice_logprob: ChoiceScript | None = None,
        sampling: SamplingParams = DEFAULT_SAMPLING,
        thinking: Thinking = NO_THINKING,
        delay_seconds: float = 0,
        record: bool = True,
        identity: str | None = None,
        reasoning_markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
    ) -> None:
        self.model, self.capabilities = model, capabilities
        self.requests: list[Request] = []
        self.reasoning_markers = tuple(reasoning_markers)
        self.compute_model: ComputeModel | None = None
        """See ``archon.lm.compute.HasCompute``; set it to sizes that the model pretends to have."""
        self._script, self._choice_logprob = script, choice_logprob
        self._sampling, self._thinking = sampling.over(DEFAULT_SAMPLING), thinking
        self._delay_seconds, self._record, self._identity = delay_seconds, record, identity

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Return the script's replies after the delay; send deltas sample by sample."""
        filled = with_defaults(request, self._sampling, self._thinking)
        check_request(filled, self.capabilities, self.model)
        if self._record:
            self.requests.append(request)
        return await generate_separated(self._generate, filled, on_event, self.reasoning_markers)

    async def _generate(self, request: Request, on_event: OnEvent | None) -> list[Completion]:
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        ((prompt, prompt_tokens),) = self._prompts(request.messages).items()
        if request.choices is not None:
            return self._score(request.choices, request, prompt, prompt_tokens)
        if request.sampling.temperature == 0:
            request = replace(request, seed=0)
        completions = []
        for index in range(request.first_draw, request.first_draw + request.n):
            completion = self._complete(request, prompt, prompt_tokens, index)
            if on_event is not None and "stream" in self.capabilities:
                for token in _tokens(completion.text):
                    on_event(TokenDelta(index, token))
            completions.append(completion)
        return completions

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """See ``archon.lm.embedding.Embedder``. The vectors are counts of words."""
        return [_word_counts(text) for text in texts]

    def draw_key(self, request: Request) -> str | None:
        """See ``archon.lm.base.SupportsDrawKey``."""
        if self._identity is None:
            return None
        prompt = prompt_digest(self.model, request.messages)
        model = ["scripted", _VERSION, self._identity]
        request = with_defaults(request, self._sampling, self._thinking)
        return request_digest(model, prompt, request, self.reasoning_markers)

    def _score(
        self, choices: Sequence[str], request: Request, prompt: str, prompt_tokens: int
    ) -> list[Completion]:
        if not choices or not all(choices):
            raise UnsupportedError(
                "a request for scored choices needs at least one choice, and none may be empty"
            )
        if self._choice_logprob is None:
            logprobs = _hashed_logprobs(choices, prompt)
        else:
            logprobs = {choice: self._choice_logprob(request, choice) for choice in choices}
        num_tokens = sum(max(1, len(choice.split())) for choice in choices)
        usage = Usage(prompt_tokens=prompt_tokens, choice_tokens=num_tokens, calls=1)
        prompts = {prompt: prompt_tokens}
        return [
            Completion("", index, "choices", usage, prompts, choice_logprobs=logprobs)
            for index in range(request.first_draw, request.first_draw + request.n)
        ]

    async def prompts_of(
        self, messages: Sequence[Message], thinking: Thinking = NO_THINKING
    ) -> Mapping[str, int]:
        """See ``archon.lm.base.SupportsPromptCount``."""
        return self._prompts(messages)

    def _prompts(self, messages: Sequence[Message]) -> Mapping[str, int]:
        num_tokens = sum(len(message.content.split()) for message in messages)
        return {prompt_digest(self.model, messages): num_tokens}

    def _complete(
        self, request: Request, prompt: str, prompt_tokens: int, index: int
    ) -> Completion:
        scripted_index = 0 if request.sampling.temperature == 0 else index
        text = self._script(request, scripted_index)
        if request.constraint is not None:
            number = sample_hash(prompt, request.seed, scripted_index, bits=64)
            text = _constrained(request, text, number)
        text, num_tokens, finish_reason = self._truncated(text, request)
        usage = Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=num_tokens,
            generated_tokens=num_tokens,
            calls=1,
        )
        completion = Completion(text, index, finish_reason, usage, {prompt: prompt_tokens})
        if request.sampling.beams:
            completion = replace(completion, score=-float(index))
        if not request.logprobs:
            return completion
        words = _words(text)
        return replace(
            completion,
            token_ids=tuple(map(_token_id, words)),
            logprobs=tuple(map(_logprob, words)),
            tokens=tuple(map(str.encode, words)),
            top_logprobs=_top_logprobs(words, request.sampling.top_logprobs or 0),
        )

    def _truncated(self, text: str, request: Request) -> tuple[str, int, FinishReason]:
        """Apply the request's limits; return the text, its number of tokens and its finish reason.

        Stop strings apply only to the answer, not to the reasoning. A completely constrained text
        has no reasoning.
        """
        if constrains_whole_text(request.constraint):
            return _truncated(text, request.sampling)
        reply = split_reasoning(text, self.reasoning_markers)
        reasoning, budget = reply.reasoning, request.thinking.max_tokens
        if budget is not None and len(words := _words(reasoning)) > budget:
            markers = next((m for m in self.reasoning_markers if m.start in reasoning), None)
            reasoning = "".join(words[:budget]) + (markers or self.reasoning_markers[0]).inserted
        return _truncated(reply.answer, request.sampling, reasoning)


_DIMENSIONS = 256


def _word_counts(text: str) -> Vector:
    """Return a unit vector of word counts; a word's hash selects its dimension."""
    counts = [0.0] * _DIMENSIONS
    for word in text.split() or [""]:
        counts[_token_id(word) % _DIMENSIONS] += 1
    length = math.hypot(*counts)
    return [count / length for count in counts]


SCRIPTED_CAPABILITIES = _CAPABILITIES | EMBED
"""Capabilities of a card's scripted model, which can replace any model except a reward model."""


def open_scripted(card: ScriptedCard, base_dir: Path | None = None) -> ScriptedLM | RewardLM:
    """Open a card's scripted model or scripted reward model. It does not record requests."""
    if card.reward:
        return RewardLM(ScriptedRewardModel(HeuristicReward(card.accuracy)), card.name)
    return ScriptedLM(
        HeuristicScript(card.accuracy),
        model=card.name,
        capabilities=SCRIPTED_CAPABILITIES,
        sampling=SamplingParams() if card.sampling is None else card.sampling.params(),
        delay_seconds=card.delay_seconds,
        record=False,
        # The digest of a request already contains the keys of thinking.
        identity=card.model_dump_json(exclude={*CardThinkingKeys.model_fields, "parameters"}),
        thinking=card.thinking_params(),
        reasoning_markers=card.markers(),
    )


# ------------------------------------------------------------------------------------- scripts


def in_turn(replies: Sequence[str]) -> Script:
    """Return a script that cycles through replies: sample k is ``replies[k % len(replies)]``."""
    if not replies:
        raise ValueError("a script needs at least one reply")
    return lambda request, sample: replies[sample % len(replies)]


def by_rules(rules: Mapping[str | re.Pattern[str], Replies]) -> Script:
    """Return a script that replies according to the first rule that matches the messages.

    Parameters
    ----------
    rules
        Substring or pattern to find in the messages → the reply, or several replies that the
        samples cycle through. If a request matches no rule, ``LMError`` is raised.
    """

    def reply(request: Request, sample: int) -> str:
        text = "\n".join(message.content for message in request.messages)
        for rule, replies in rules.items():
            if rule in text if isinstance(rule, str) else rule.search(text):
                return replies if isinstance(replies, str) else replies[sample % len(replies)]
        raise LMError(f"no rule of the script matches the request {text[:200]!r}")

    return reply


# -------------------------------------------------------------------------------------- tokens


def _words(text: str) -> list[str]:
    """Return the tokens of a text, without trailing white space."""
    return _TOKEN.findall(text)


def _tokens(text: str) -> list[str]:
    """Return the tokens of a text. Trailing white space becomes an additional token."""
    words = _words(text)
    rest = text[sum(map(len, words)) :]
    return [*words, rest] if rest else words


def _constrained(request: Request, reply: str, number: int) -> str:
    """Return the reply, with its end changed to satisfy the constraint.

    Free text is truncated if too few tokens would remain for the constrained end.
    """
    assert request.constraint is not None
    free, constrained = constrained_reply(request.constraint, reply, number)
    max_tokens, after = request.sampling.max_tokens, request.constraint.after
    if max_tokens is not None and after is not None:
        free = "".join(_words(free)[: max(0, max_tokens - after.room)])
    return f"{free}\n{constrained}" if free else constrained


def _truncated(
    text: str, sampling: SamplingParams, reasoning: str = ""
) -> tuple[str, int, FinishReason]:
    """Cut a text at the first stop string, prepend the reasoning, and cut it at ``max_tokens``.

    Returns
    -------
    The text, its number of tokens, and its finish reason.
    """
    for stop in sampling.stop or ():
        text = text.partition(stop)[0]
    text = reasoning + text
    num_tokens = len(text.split())
    if sampling.max_tokens is not None and num_tokens > sampling.max_tokens:
        words = _words(text)[: sampling.max_tokens]
        return "".join(words), sampling.max_tokens, "length"
    return text, num_tokens, "stop"


def _token_id(word: str) -> int:
    return crc32(word.encode()) % 50_000


def _logprob(word: str) -> float:
    return -0.001 - (crc32(word.encode()) % 3000) / 1000


def _top_logprobs(words: Sequence[str], count: int) -> tuple[tuple[TokenLogprob, ...], ...] | None:
    """Return each word as the likeliest token at its position, before invented ones."""
    if not count:
        return None
    others = [f" other{k}" for k in range(1, count)]
    return tuple(
        tuple(
            TokenLogprob(_logprob(word) - 3 * rank, _token_id(token), token.encode())
            for rank, token in enumerate([word, *others])
        )
        for word in words
    )


def _hashed_logprobs(choices: Sequence[str], prompt: str) -> dict[str, float]:
    """Return a map from choices to log-probabilities, which depend on a hash of the prompt."""
    scores = {choice: crc32(f"{prompt}/{choice}".encode()) / 2**30 for choice in choices}
    log_sum = math.log(sum(map(math.exp, scores.values())))
    return {choice: score - log_sum for choice, score in scores.items()}
