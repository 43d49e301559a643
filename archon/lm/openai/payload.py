"""The JSON objects that are posted to servers of the OpenAI protocol."""

from __future__ import annotations

from archon.lm.openai.adaptation import Adaptation, as_card_says
from archon.lm.openai.structured_output import whole_pattern, wrapping_schema
from archon.lm.openai.transcript import transcript
from archon.lm.thinking import server_fields
from archon.spec.model import OpenAICard
from archon.types import Constraint, Request, SamplingParams


def request_body(
    card: OpenAICard,
    request: Request,
    *,
    seed: int,
    n: int = 1,
    stream: bool = False,
    adaptation: Adaptation | None = None,
) -> dict[str, object]:
    """The object to post.

    The request's sampling must have every value set, and its constraint be one that the card's
    server can hold texts to. What many servers do not know is sent only where it changes something.
    ``adaptation`` says what the server was found to reject.
    """
    adaptation = adaptation or as_card_says(card)
    body: dict[str, object] = {"model": card.model, "seed": seed}
    if card.endpoint == "chat":
        body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
    else:
        body["prompt"] = transcript(request.messages)
    if not card.server_sampling:
        body |= _sampling(request.sampling)
    body |= server_fields(card.thinking_field, request.thinking)
    if n > 1:
        body["n"] = n
    if request.logprobs:
        # llama-cpp-python sends none where the number of others beside each token is not given.
        body |= (
            {"logprobs": True, "top_logprobs": 0} if card.endpoint == "chat" else {"logprobs": 0}
        )
    if request.constraint is not None:
        body |= _form(card, request.constraint)
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if "max_tokens" in body and adaptation.max_tokens_field != "max_tokens":
        most = body.pop("max_tokens")
        if adaptation.max_tokens_field is not None:
            body[adaptation.max_tokens_field] = most
    omitted = adaptation.omitted.union(card.omit)
    return {key: value for key, value in body.items() if key not in omitted} | card.body


def _sampling(sampling: SamplingParams) -> dict[str, object]:
    body: dict[str, object] = {
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.top_p != 1:
        body["top_p"] = sampling.top_p
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.min_p:
        body["min_p"] = sampling.min_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    return body


def is_wrapped(card: OpenAICard, form: Constraint | None) -> bool:
    """Whether the text comes as the value of a JSON object (see ``structured_output``)."""
    return form is not None and form.after is not None and card.constraint != "structured_outputs"


def _form(card: OpenAICard, form: Constraint) -> dict[str, object]:
    schema = wrapping_schema(form) if is_wrapped(card, form) else form.json_schema
    match card.constraint:
        case "json_schema":
            named = {"name": "answer", "schema": schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case "json_object":
            return {"response_format": {"type": "json_object", "schema": schema}}
        case "structured_outputs":
            regex = form.regex if form.after is None else whole_pattern(form)
            value = {"regex": regex} if schema is None else {"json": schema}
            return {"structured_outputs": value}
        case None:
            raise AssertionError("a card without a way to send forms promises none")
