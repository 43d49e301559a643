"""The language-model interface (``LM``) and optional extensions of it.

Scripted models, models on servers, models in the local engine, and architectures implement ``LM``.
A model may also implement some of the other protocols, such as ``SupportsStatus``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from archon.errors import UnsupportedError
from archon.lm.tool_calls.messages import uses_tools
from archon.reasoning import ReasoningMarkers
from archon.types import (
    Completion,
    Constraint,
    Message,
    ModelStatus,
    OnEvent,
    Request,
    SamplingParams,
    Thinking,
    refused_with_beams,
)

CAPABILITIES: dict[str, str] = {
    "chat": "reads the turns of a conversation through a chat template",
    "logprobs": "returns the log-probability of each generated token",
    "choices": "scores given continuations without generating text",
    "constraint": "satisfies any constraint on the text or on its end",
    "schema": "satisfies a JSON schema on the complete text; `constraint` includes it",
    "regex": "satisfies a regular expression on the complete text; `constraint` includes it",
    "closing": "satisfies a constraint on its last line after free text; `constraint` includes it",
    "stream": "sends token deltas while it generates",
    "beams": "finds the most likely texts by beam search",
    "thinking": "turns thinking on or off as requested, and accepts `template_variables`",
    "tools": "calls tools, through a chat template or a server that supports them",
    "thinking_budget": "reasons for at most `max_thinking_tokens` tokens",
    "reward": "scores texts but generates none (``archon.lm.reward``)",
    "embed": "embeds texts but generates none (``archon.lm.embedding``)",
}
"""Capability → its meaning, for error messages."""
NO_THINKING = Thinking()
"""Thinking parameters that override none of the model's defaults."""
LM_CAPABILITIES = frozenset(CAPABILITIES) - {"reward", "embed"}
"""All capabilities that a model that generates text may have."""
MAX_CLOSING_ITEMS = 5
"""Maximum number of items in a ranking (``Constraint.order_of``) that ``closing`` supports.

A request to a server lists all orders of the items: 120 for 5 items."""
TEMPLATE_TOKENS = 256
"""Upper bound on the tokens that a chat template adds to a prompt (``most_prompt_tokens``)."""
MESSAGE_TOKENS = 16
"""Upper bound on the tokens that a chat template adds to each message."""


@runtime_checkable
class LM(Protocol):
    """A language model, or a program with the same interface.

    ``generate`` returns ``request.n`` completions in the order of their sample numbers, which start
    at ``request.first_draw``. If some samples fail, they are returned with their ``error`` set. If
    the call is cancelled, all of its work stops. ``on_event`` is called in the event loop's thread.

    Raises
    ------
    LMError
        Every sample failed, or the model lacks a capability that the request needs.
    """

    capabilities: frozenset[str]

    async def generate(
        self, request: Request, on_event: OnEvent | None = None
    ) -> list[Completion]: ...


@runtime_checkable
class SupportsDrawKey(Protocol):
    """An LM whose samples a pool may store (``archon.lm.pool``)."""

    def draw_key(self, request: Request) -> str | None:
        """Return a key for everything that determines a request's samples, except their numbers.

        Return None if no key can identify a sample, for example because it also depends on the
        request's other samples.

        Raises
        ------
        LMError
            The model cannot read the request's messages.
        """
        ...


@runtime_checkable
class SupportsPromptCount(Protocol):
    """An LM that can count the tokens of a prompt before it generates."""

    async def prompts_of(
        self, messages: Sequence[Message], thinking: Thinking = NO_THINKING
    ) -> Mapping[str, int] | None:
        """Return the prompt's digest and number of tokens; see the function ``prompts_of``."""
        ...


@runtime_checkable
class SupportsStatus(Protocol):
    """An LM that reports its status, such as how many requests are running."""

    def status(self) -> ModelStatus | None:
        """Return the current status. Any thread may call this method at any time."""
        ...


@runtime_checkable
class SupportsClose(Protocol):
    """A model with resources to free, such as connections or weights."""

    async def aclose(self) -> None:
        """Free the resources."""
        ...


@runtime_checkable
class SplitsReasoning(Protocol):
    """An LM that separates the reasoning of its completions from the answers."""

    @property
    def reasoning_markers(self) -> tuple[ReasoningMarkers, ...]:
        """The markers around the model's reasoning."""
        ...


def check_request(request: Request, capabilities: frozenset[str], model: str) -> None:
    """Check that a request is valid and needs only capabilities that the model has.

    Raises
    ------
    UnsupportedError
        The request is invalid, or the model lacks a capability. The error names ``model``.
    """
    if request.n < 1 or request.first_draw < 0:
        raise UnsupportedError(f"{model}: n must be at least 1 and first_draw at least 0")
    constraint, thinking = request.constraint, request.thinking
    if constraint is not None and constraint.num_forms != 1:
        reason = "a constraint must set exactly one of json_schema, regex and order_of"
        raise UnsupportedError(f"{model}: {reason}")
    needed = {
        "choices": request.choices is not None,
        "logprobs": request.logprobs or bool(request.sampling.top_logprobs),
        "beams": bool(request.sampling.beams),
        "thinking": thinking.wanted is not None or bool(thinking.template_variables),
        "thinking_budget": thinking.max_tokens is not None,
        "tools": uses_tools(request),
        "constraint": not (constraint is None or supports(capabilities, constraint)),
    }
    for capability, is_needed in needed.items():
        if is_needed and capability not in capabilities:
            meaning = CAPABILITIES[capability]
            reason = f"{model} lacks the capability {capability!r} ({meaning})"
            raise UnsupportedError(reason, field=capability)
    is_schema = constraint is None or (constraint.json_schema is not None and not constraint.after)
    if request.offered_tools and (not is_schema or request.choices is not None):
        reason = "tools can be combined with a JSON schema, but with no other constraint"
        raise UnsupportedError(f"{model}: {reason}", field="tools")
    if request.sampling.beams and (refused := refused_with_beams(request.sampling)):
        reason = f"a beam search does not support {' and '.join(refused)}"
        raise UnsupportedError(f"{model}: {reason}; set 'beams' to 0, or leave it out")


def supports(capabilities: frozenset[str], constraint: Constraint) -> bool:
    """Return True if a model with these capabilities can satisfy the constraint."""
    if "constraint" in capabilities:
        return True
    is_schema, items = constraint.json_schema is not None, constraint.order_of
    if constraint.after is not None:
        return "closing" in capabilities and not is_schema and len(items or ()) <= MAX_CLOSING_ITEMS
    return ("schema" if is_schema else "regex") in capabilities and items is None


def with_defaults(
    request: Request, sampling: SamplingParams, thinking: Thinking = NO_THINKING
) -> Request:
    """Return the request, with a model's defaults for the parameters that it does not set.

    A request for the likeliest tokens at each position is also one for log-probabilities.
    """
    filled = request.sampling.over(sampling)
    return replace(
        request,
        sampling=filled,
        thinking=request.thinking.over(thinking),
        logprobs=request.logprobs or bool(filled.top_logprobs),
    )


async def close(model: object) -> None:
    """Close a model if it has resources to free."""
    if isinstance(model, SupportsClose):
        await model.aclose()


def status_of(lm: LM) -> ModelStatus | None:
    """Return the status of an LM; None if it does not report its status."""
    return lm.status() if isinstance(lm, SupportsStatus) else None


async def prompts_of(
    lm: LM, messages: Sequence[Message], thinking: Thinking = NO_THINKING
) -> Mapping[str, int] | None:
    """Count the tokens of the prompt built from ``messages``, without generating.

    Returns
    -------
    Digest of the prompt → its number of tokens, as in ``Completion.prompts``. None if the LM cannot
    count them, for example because a server's tokenizer is unknown. In this case, use
    ``most_prompt_tokens``.
    """
    if not isinstance(lm, SupportsPromptCount):
        return None
    if thinking.key is None:
        return await lm.prompts_of(messages)
    return await lm.prompts_of(messages, thinking)


def most_prompt_tokens(messages: Sequence[Message]) -> int:
    """Return an upper bound on the number of tokens in a prompt.

    The bound assumes one token per byte. A fixed number is added for the chat template, which adds
    a few tokens around each message and may add a system message.
    """
    num_bytes = sum(len(m.content.encode("utf-8", "surrogatepass")) for m in messages)
    return num_bytes + TEMPLATE_TOKENS + MESSAGE_TOKENS * len(messages)
