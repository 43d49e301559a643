"""The seam: everything that answers a request is an ``LM``.

The scripted double, a remote server, the local engine and a whole architecture satisfy it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from archon.errors import UnsupportedError
from archon.lm.openai.structured_output import can_close
from archon.types import (
    Completion,
    Constraint,
    Message,
    ModelStatus,
    OnEvent,
    Request,
    Thinking,
)

CAPABILITIES: dict[str, str] = {
    "chat": "reads turns of a conversation through a chat template",
    "logprobs": "returns the log-probability of each generated token",
    "choices": "scores given continuations without generating",
    "constraint": "holds its output to any form, behind free text, too",
    "schema": "holds its whole output to a JSON schema, as every model with `constraint` does",
    "regex": "holds its whole output to a regular expression, as those do",
    "closing": "holds its last line to a form behind free text, as those do",
    "stream": "sends token deltas while it generates",
    "beams": "finds the likeliest texts by beam search",
    "thinking": "reasons or not as `thinking` says, and takes `template_variables`",
    "thinking_budget": "reasons for `max_thinking_tokens` tokens at most",
    "reward": "scores texts and writes none (``archon.lm.reward``)",
    "embed": "turns texts into vectors and writes none (``archon.lm.embedding``)",
}
NO_THINKING = Thinking()
"""Asks for nothing."""
LM_CAPABILITIES = frozenset(CAPABILITIES) - {"reward", "embed"}
"""All that a model which writes can do."""


@runtime_checkable
class LM(Protocol):
    """A language model, or anything that behaves like one.

    ``generate`` returns ``request.n`` completions in the order of their draws, draws numbered
    from ``request.first_draw``. A sample that failed has its ``error`` set; at least one has not.
    It may be cancelled at any await; nothing of the call is left running then. ``on_event`` is
    called in the event loop's thread.

    Raises
    ------
    LMError : no sample succeeded, or the model lacks a capability that the request needs.
    """

    capabilities: frozenset[str]

    async def generate(
        self, request: Request, on_event: OnEvent | None = None
    ) -> list[Completion]: ...


@runtime_checkable
class Keyed(Protocol):
    """An LM whose draws can be told apart, so that a pool may keep them (``archon.lm.pool``)."""

    def draw_key(self, request: Request) -> str | None:
        """A name of all that a request's draws depend on, but for their numbers.

        None where a draw depends on something else, such as on the draws asked for with it.

        Raises
        ------
        LMError : the model cannot read the request's messages.
        """
        ...


def check_request(request: Request, capabilities: frozenset[str], model: str) -> None:
    """Refuse a request that asks for what a model lacks, for no draws, or for no clear form.

    Raises
    ------
    UnsupportedError : names the model and what is wrong, such as the missing capability.
    """
    if request.n < 1 or request.first_draw < 0:
        raise UnsupportedError(f"{model}: n must be at least 1 and first_draw at least 0")
    needed = {
        "choices": request.choices is not None,
        "logprobs": request.logprobs,
        "beams": bool(request.sampling.beams),
        **thinking_needs(request.thinking),
    }
    for capability, is_needed in needed.items():
        if is_needed and capability not in capabilities:
            meaning = CAPABILITIES[capability]
            raise UnsupportedError(f"{model} lacks the capability {capability!r} ({meaning})")
    form = request.constraint
    if form is None:
        return
    if form.num_forms != 1:
        reason = "a constraint sets exactly one of json_schema, regex and order_of"
        raise UnsupportedError(f"{model}: {reason}")
    if not can_hold(capabilities, form):
        meaning = CAPABILITIES["constraint"]
        raise UnsupportedError(f"{model} lacks the capability 'constraint' ({meaning})")


def thinking_needs(thinking: Thinking) -> dict[str, bool]:
    """Capability → whether a model needs it to reason as it is asked to."""
    return {
        "thinking": thinking.wanted is not None or bool(thinking.template_variables),
        "thinking_budget": thinking.max_tokens is not None,
    }


def can_hold(capabilities: frozenset[str], form: Constraint) -> bool:
    """Whether a model with these capabilities can hold its text to a form."""
    if "constraint" in capabilities:
        return True
    if form.after is not None:
        return "closing" in capabilities and can_close(form)
    needed = "schema" if form.json_schema is not None else "regex"
    return needed in capabilities and form.order_of is None


async def close(lm: LM) -> None:
    """Free what an LM holds, such as connections or weights, if it has an ``aclose`` for it."""
    aclose = getattr(lm, "aclose", None)
    if aclose is not None:
        await aclose()


def status_of(lm: LM) -> ModelStatus | None:
    """What an LM is doing, if it has a ``status`` that tells; any thread may ask, at any time."""
    status = getattr(lm, "status", None)
    return None if status is None else status()


async def prompts_of(
    lm: LM, messages: Sequence[Message], thinking: Thinking = NO_THINKING
) -> Mapping[str, int] | None:
    """Digest → tokens of the prompt that the messages become, as ``Completion.prompts`` has them.
    The chat template may read ``thinking``, too.

    None where the model, such as a server whose tokenizer is not known here, cannot tell
    beforehand; ``most_prompt_tokens`` is then a bound.
    """
    tell = getattr(lm, "prompts_of", None)
    if tell is None:
        return None
    prompts: Mapping[str, int] | None
    prompts = await (tell(messages) if thinking.key is None else tell(messages, thinking))
    return prompts


def most_prompt_tokens(messages: Sequence[Message]) -> int:
    """More tokens than a prompt can have: one for each byte, and room for the chat template.

    A token of a byte-level vocabulary stands for at least one byte. A template adds a few tokens
    around each message, and some a system message of their own.
    """
    num_bytes = sum(len(m.content.encode("utf-8", "surrogatepass")) for m in messages)
    return num_bytes + TEMPLATE_TOKENS + MESSAGE_TOKENS * len(messages)


TEMPLATE_TOKENS = 256
MESSAGE_TOKENS = 16
