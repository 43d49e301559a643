"""Parse and validate the bodies of ``POST /v1/completions``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from archon.serve import fields
from archon.serve.fields import BadRequestError, Ignored, Rule
from archon.serve.request_object import INTEGRAL, read_request
from archon.serve.requests import StreamOptions
from archon.serve.sampling_fields import SamplingFields
from archon.types import Message, RawPrompt, Request

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default for completions, which clients of base models count on."""
_MAX_TOKEN_ID = 2**31 - 1
TokenIds = Annotated[
    list[Annotated[int, Field(ge=0, le=_MAX_TOKEN_ID)]], Field(min_length=1, fail_fast=True)
]
_OWN = ("prompt", "echo", "suffix", "add_special_tokens", "skip_special_tokens")


def _not_here(advice: str, *neutral: object) -> Rule:
    return Rule("unsupported", neutral, advice)


_RULES: fields.Rules = {name: rule for name, rule in fields.REQUEST.items() if name not in _OWN} | {
    "messages": _not_here("not supported; use prompt, or POST /v1/chat/completions"),
    "suffix": _not_here("infilling is not supported; leave it out", ""),
    "skip_special_tokens": _not_here("answers contain no special tokens; leave it out", True),
    "prompt_logprobs": _not_here("not supported; use echo with logprobs"),
    "top_logprobs": _not_here("not supported; use logprobs, which is a number"),
    "max_completion_tokens": _not_here("not supported; use max_tokens"),
    "response_format": _not_here("not supported; use POST /v1/chat/completions", {"type": "text"}),
    "chat_template_kwargs": _not_here("completions have no chat template; leave it out", {}),
    "archon": _not_here("not supported; use POST /v1/chat/completions", {}),
    "reasoning_effort": Rule("hint", ("none", "default")),
}


def _no_logprobs(value: Any) -> Any:
    return None if value is False else value


class CompletionRequest(SamplingFields):
    """The body of ``POST /v1/completions``. A field that is ``null`` counts as absent."""

    rules = _RULES

    prompt: (
        str
        | TokenIds
        | Annotated[list[str], Field(min_length=1, fail_fast=True)]
        | Annotated[list[TokenIds], Field(min_length=1, fail_fast=True)]
    ) = Field(description="One or several prompts, as text or as token ids.")
    max_tokens: (
        Annotated[int, Field(ge=0, le=1_000_000), INTEGRAL]
        | Annotated[Literal[-1], INTEGRAL]
        | None
    ) = Field(
        None,
        description=f"{DEFAULT_MAX_TOKENS} by default; -1 for the model's default. 0 generates "
        "nothing, for the log-probabilities of the prompt.",
    )
    echo: bool = Field(False, description="Begin each answer with its prompt.")
    logprobs: Annotated[
        Annotated[int, Field(ge=0, le=20), INTEGRAL] | None, BeforeValidator(_no_logprobs)
    ] = Field(None, description="Number of likeliest tokens to return at each position.")
    add_special_tokens: bool = Field(
        True, description="Begin a text with the token that begins each text of the model."
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def prompts(self) -> list[RawPrompt]:
        """The prompts, in order."""
        if isinstance(self.prompt, str):
            return [self._text(self.prompt)]
        if isinstance(self.prompt[0], int):
            return [RawPrompt(token_ids=tuple(self.prompt))]
        return [
            self._text(one) if isinstance(one, str) else RawPrompt(token_ids=tuple(one))
            for one in self.prompt
        ]

    def _text(self, text: str) -> RawPrompt:
        return RawPrompt(text, add_special_tokens=self.add_special_tokens)

    @property
    def wants_usage(self) -> bool:
        """True if a streamed response must end with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def requests(self, *, for_architecture: bool) -> list[Request]:
        """Convert to one language-model request per prompt; all have the same seed.

        Parameters
        ----------
        for_architecture
            Whether prompts are questions to an architecture. It has no default for ``max_tokens``,
            since that would cut off the nodes.
        """
        sampling = self.sampling()
        if "max_tokens" not in self.model_fields_set and not for_architecture:
            sampling = replace(sampling, max_tokens=DEFAULT_MAX_TOKENS)
        seed = self.run_seed
        if for_architecture:
            return [
                Request((Message("user", p.text),), n=self.n or 1, seed=seed, sampling=sampling)
                for p in self.prompts
            ]
        return [
            Request(
                messages=(),
                n=self.n or 1,
                seed=seed,
                sampling=replace(sampling, top_logprobs=self.logprobs),
                logprobs=self.logprobs is not None,
                prompt=prompt,
                prompt_logprobs=self.echo
                and (self.logprobs is not None or prompt.token_ids is not None),
            )
            for prompt in self.prompts
        ]


def read_completion_request(content: bytes, *, is_strict: bool = False) -> CompletionRequest:
    """Parse the body of a completion request; see ``read_request``."""
    body = read_request(CompletionRequest, content, is_strict=is_strict, prepare=_without_best_of)
    if body.wants_usage and not body.stream:
        reason = "stream_options needs stream to be true"
        raise BadRequestError(reason, param="stream_options", code="unsupported")
    return body


def _without_best_of(body: Any, ignored: Ignored) -> Any:
    """Remove ``best_of`` if it is ``n``, since it then selects nothing."""
    if isinstance(body, dict) and "best_of" in body and body["best_of"] == (body.get("n") or 1):
        return {key: value for key, value in body.items() if key != "best_of"}
    return body
