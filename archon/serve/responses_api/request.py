"""Parse and strictly validate requests to the Responses API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from archon.serve import responses_fields
from archon.serve.fields import BadRequestError, Ignored
from archon.serve.request_object import INTEGRAL, RequestObject, read_request
from archon.serve.requests import ArchonOptions
from archon.serve.responses_api.items import InputItem
from archon.serve.responses_api.tools import FunctionTools, NamedFunction, request_tools
from archon.serve.sampling_fields import MaxTokens, SamplingFields
from archon.serve.tools import with_names
from archon.types import Constraint, Message, Request, Thinking

LOGPROBS = "message.output_text.logprobs"
"""Value of ``include`` that asks for the log-probabilities of the answer's tokens."""
_NOTHING_TO_INCLUDE = (
    *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
    *("message.input_image.image_url", "computer_call_output.output.image_url"),
    "code_interpreter_call.outputs",
)
"""Values of ``include`` that ask for parts of tool calls and images, which no response has."""
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Summary = Literal["auto", "concise", "detailed"]


class PlainFormat(RequestObject):
    """Format of the answer: text without a constraint."""

    place = "text.format."

    type: Literal["text"]


class AnyObjectFormat(RequestObject):
    """Format of the answer: any JSON object."""

    place = "text.format."

    type: Literal["json_object"]


class SchemaFormat(RequestObject):
    """Format of the answer: JSON that matches a schema, even if ``strict`` is not set."""

    place = "text.format."

    type: Literal["json_schema"]
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextOptions(RequestObject):
    """Options of the answer's text."""

    rules = responses_fields.TEXT
    place = "text."

    format: (
        Annotated[PlainFormat | AnyObjectFormat | SchemaFormat, Field(discriminator="type")] | None
    ) = None


class ReasoningOptions(RequestObject):
    """Options of a reasoning model."""

    rules = responses_fields.REASONING
    place = "reasoning."

    effort: Effort | None = None
    summary: Summary | None = Field(
        None, description="Return the reasoning, which is complete, as a summary."
    )
    generate_summary: Summary | None = Field(None, description="Older name of `summary`.")


class ResponseStreamOptions(RequestObject):
    """Options of a streamed response."""

    rules = responses_fields.STREAM_OPTIONS
    place = "stream_options."


class ResponsesRequest(SamplingFields):
    """The body of ``POST /v1/responses``. A field that is ``null`` counts as absent."""

    rules = responses_fields.REQUEST

    input: str | Annotated[list[InputItem], Field(min_length=1, fail_fast=True)]
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = Field(None, description="True by default.")
    max_output_tokens: MaxTokens | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), INTEGRAL] | None = None
    tools: FunctionTools | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedFunction | None = None
    parallel_tool_calls: bool | None = None
    metadata: Any = None
    user: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    archon: ArchonOptions | None = None

    @field_validator("max_output_tokens")
    @classmethod
    def _without_neutral_limit(cls, value: int | None) -> int | None:
        return None if value == -1 else value

    @property
    def wants_trace(self) -> bool:
        """True if the response must contain the trace."""
        return self.archon is not None and self.archon.trace

    @property
    def wants_logprobs(self) -> bool:
        """True if the response must contain the log-probabilities of the answer's tokens."""
        return LOGPROBS in (self.include or ())

    @property
    def summary(self) -> Summary | None:
        """The kind of summary; None if the reasoning is returned as reasoning text."""
        options = self.reasoning
        return None if options is None else options.summary or options.generate_summary

    @property
    def effort(self) -> Effort | None:
        """The reasoning effort; None if it is absent."""
        return None if self.reasoning is None else self.reasoning.effort

    def request(self, messages: Sequence[Message]) -> Request:
        """Convert to a language-model request for an answer to the complete conversation."""
        effort = self.effort
        sampling = replace(
            self.sampling(),
            max_tokens=self.max_output_tokens or self.max_tokens,
            top_logprobs=self.top_logprobs if self.wants_logprobs else None,
        )
        return Request(
            messages=with_names(messages),
            seed=self.run_seed,
            sampling=sampling,
            constraint=self._constraint(),
            logprobs=self.wants_logprobs,
            thinking=Thinking(None if effort is None else effort not in ("none", "minimal")),
            parallel_tool_calls=self.parallel_tool_calls is not False,
            **request_tools(self.tools or (), self.tool_choice),
        )

    def _constraint(self) -> Constraint | None:
        match None if self.text is None else self.text.format:
            case AnyObjectFormat():
                return Constraint(json_schema={"type": "object"})
            case SchemaFormat(schema_=schema):
                return Constraint(json_schema=schema)
            case _:
                return None


def read_responses_request(content: bytes, *, is_strict: bool = False) -> ResponsesRequest:
    """Parse the body of a request to the Responses API; see ``read_request``."""
    asked = read_request(
        ResponsesRequest, content, is_strict=is_strict, prepare=_without_unused_tools
    )
    limits = {asked.max_tokens, asked.max_output_tokens} - {None}
    if len(limits) > 1:
        reason = "max_tokens and max_output_tokens differ; send only max_output_tokens"
        raise BadRequestError(reason, param="max_tokens", code="unsupported")
    if (asked.n or 1) > 1:
        reason = "n: a response has one answer; send a request for each answer"
        raise BadRequestError(reason, param="n", code="unsupported")
    _check_include(asked)
    return asked


def _check_include(asked: ResponsesRequest) -> None:
    """Report parts of ``include`` that have no effect, and reject unknown ones."""
    known = (LOGPROBS, "reasoning.encrypted_content", *_NOTHING_TO_INCLUDE)
    for at, name in enumerate(asked.include or ()):
        if name not in known:
            reason = f"include.{at}: {name[:60]!r} is unknown; it can be {', '.join(known)}"
            raise BadRequestError(reason, param=f"include.{at}", code="invalid_value")
    if "reasoning.encrypted_content" in (asked.include or ()):
        asked.ignored.add("include", "include")
    if asked.top_logprobs and not asked.wants_logprobs:
        asked.ignored.add("top_logprobs", "top_logprobs")


def _without_unused_tools(body: Any, ignored: Ignored) -> Any:
    """Remove ``tools`` if the request forbids the model from calling them."""
    if isinstance(body, dict) and body.get("tools") and body.get("tool_choice") == "none":
        ignored.add("tools", "tools")
        return {key: value for key, value in body.items() if key != "tools"}
    return body
