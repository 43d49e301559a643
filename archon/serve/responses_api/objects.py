"""Types of the response objects of the Responses API.

Names follow OpenAI's protocol. All fields are present in the JSON, except ``archon``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from archon.serve.responses import AnswerDetails, ResponseObject

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class LikelyToken(ResponseObject):
    """A likely token and its log-probability."""

    token: str
    logprob: float
    bytes: list[int]


class OutputLogprob(ResponseObject):
    """A sampled token and its log-probability."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[LikelyToken]


class OutputText(ResponseObject):
    """The text of an answer."""

    type: Literal["output_text"]
    text: str
    annotations: list[dict[str, Any]]
    logprobs: list[OutputLogprob]


class OutputMessage(ResponseObject):
    """An answer."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: ItemStatus
    content: list[OutputText]


class SummaryText(ResponseObject):
    """The reasoning, if the request asks for a summary."""

    type: Literal["summary_text"]
    text: str


class ReasoningText(ResponseObject):
    """The reasoning, if the request does not ask for a summary."""

    type: Literal["reasoning_text"]
    text: str


class OutputReasoning(ResponseObject):
    """The reasoning before an answer."""

    id: str
    type: Literal["reasoning"]
    status: ItemStatus
    summary: list[SummaryText]
    content: list[ReasoningText]


class OutputFunctionCall(ResponseObject):
    """A call of a function of the request."""

    id: str
    type: Literal["function_call"]
    status: ItemStatus
    call_id: str
    name: str
    arguments: str


class InputTokensDetails(ResponseObject):
    """Details of the prompt tokens."""

    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(ResponseObject):
    """Details of the generated tokens."""

    reasoning_tokens: int


class ResponseUsage(ResponseObject):
    """Token counts, summed over all nodes. A prompt with several samples is counted once."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseFailure(ResponseObject):
    """Reason why a streamed response failed."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(ResponseObject):
    """Reason why a response is incomplete."""

    reason: Literal["max_output_tokens"] | None


class ReasoningSettings(ResponseObject):
    """The request's settings of reasoning."""

    effort: str | None
    summary: str | None


class TextSettings(ResponseObject):
    """The request's settings of the text."""

    format: dict[str, Any]


class ResponseBody(ResponseObject):
    """A response, with the settings of its request."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    model: str
    output: list[OutputReasoning | OutputMessage | OutputFunctionCall]
    usage: ResponseUsage | None
    previous_response_id: str | None
    store: bool
    background: Literal[False]
    instructions: str | None
    max_output_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_logprobs: int
    text: TextSettings
    reasoning: ReasoningSettings
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    truncation: Literal["disabled"]
    service_tier: Literal["default"]
    metadata: dict[str, str]
    user: str | None
    safety_identifier: str | None
    prompt_cache_key: str | None
    archon: AnswerDetails | None = Field(
        default=None, description="Present if `archon.trace` is true."
    )


class DeletedResponse(ResponseObject):
    """Confirmation that a response is no longer stored."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItemList(ResponseObject):
    """Items of a stored response's input."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool
