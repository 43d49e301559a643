"""Build request bodies for the OpenAI protocol."""

from __future__ import annotations

from collections.abc import Sequence

from archon.lm.openai.field_adaptation import Adaptation, initial_adaptation
from archon.lm.openai.structured_output import whole_pattern, wrapping_schema
from archon.lm.thinking import server_fields
from archon.lm.tool_calls.messages import message_json, request_fields
from archon.spec.model import OpenAICard
from archon.spec.providers import PROVIDERS
from archon.types import SENT_PARAMETERS, Constraint, Message, Request, SamplingParams

_SPEAKERS = {"system": "", "user": "Question: ", "assistant": "Answer: ", "tool": "Result: "}


def request_body(
    card: OpenAICard,
    request: Request,
    *,
    seed: int,
    n: int = 1,
    stream: bool = False,
    adaptation: Adaptation | None = None,
) -> dict[str, object]:
    """Build the body of an HTTP request.

    Only sampling parameters that have an effect are sent, because many servers do not support all
    of them.

    Parameters
    ----------
    request
        A request that sets every sampling parameter. Its constraint must be one that the card
        supports.
    adaptation
        Changes that avoid fields that the server has rejected.
    """
    adaptation = adaptation or initial_adaptation(card)
    body: dict[str, object] = {"model": card.model, "seed": seed}
    if card.endpoint == "chat":
        body["messages"] = [message_json(message) for message in request.messages]
        body |= request_fields(request)
    else:
        body["prompt"] = transcript(request.messages)
    if not card.server_sampling:
        body |= _sampling(request.sampling)
    body |= server_fields(card.thinking_field, request.thinking)
    if n > 1:
        body["n"] = n
    count = request.sampling.top_logprobs or 0
    if request.logprobs or count:
        # llama-cpp-python needs the number of alternatives per token.
        is_chat = card.endpoint == "chat"
        body |= {"logprobs": True, "top_logprobs": count} if is_chat else {"logprobs": count}
    if request.constraint is not None:
        body |= _constraint(card, request.constraint)
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if "max_tokens" in body and adaptation.max_tokens_field != "max_tokens":
        max_tokens = body.pop("max_tokens")
        if adaptation.max_tokens_field is not None:
            body[adaptation.max_tokens_field] = max_tokens
    omitted = adaptation.omitted.union(card.omit)
    return {key: value for key, value in body.items() if key not in omitted} | card.body


def unsent_parameters(card: OpenAICard, sampling: SamplingParams) -> list[str]:
    """Return the sampling parameters that have an effect and that the provider does not support."""
    if card.provider is None or card.server_sampling:
        return []
    unsupported = {*PROVIDERS[card.provider].unsupported} & {*card.omit}
    return [name for name in _sampling(sampling) if name in unsupported]


def transcript(messages: Sequence[Message]) -> str:
    r"""Return a conversation as plain text for a base model to continue.

    >>> transcript([Message("system", "Be brief."), Message("user", "2 + 2?")])
    'Be brief.\n\nQuestion: 2 + 2?\n\nAnswer:'
    """
    parts = [_SPEAKERS[message.role] + message.content for message in messages]
    return "\n\n".join([*parts, _SPEAKERS["assistant"].rstrip()])


def _sampling(sampling: SamplingParams) -> dict[str, object]:
    return {
        name: parameter.to_json(value)
        for name, parameter in SENT_PARAMETERS.items()
        if parameter.has_effect(value := getattr(sampling, name)) and name != "top_logprobs"
    }


def is_wrapped(card: OpenAICard, constraint: Constraint | None) -> bool:
    """Return True if the server wraps the text in a JSON object (see ``structured_output``)."""
    return (
        constraint is not None
        and constraint.after is not None
        and card.constraint != "structured_outputs"
    )


def _constraint(card: OpenAICard, constraint: Constraint) -> dict[str, object]:
    is_object = is_wrapped(card, constraint)
    schema = wrapping_schema(constraint) if is_object else constraint.json_schema
    match card.constraint:
        case "json_schema":
            named = {"name": "answer", "schema": schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case "json_object":
            return {"response_format": {"type": "json_object", "schema": schema}}
        case "structured_outputs":
            regex = constraint.regex if constraint.after is None else whole_pattern(constraint)
            value = {"regex": regex} if schema is None else {"json": schema}
            return {"structured_outputs": value}
        case None:
            raise AssertionError("a card without structured output does not support constraints")
