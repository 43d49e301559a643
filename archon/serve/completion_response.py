"""Response bodies of ``POST /v1/completions``, and how they are built."""

from __future__ import annotations

import codecs
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from archon.serve.responses import ResponseObject, Usage, usage
from archon.types import Completion, FinishReason, PromptToken


class CompletionLogprobs(ResponseObject):
    """Tokens of an answer, with their log-probabilities. An echoed prompt comes first."""

    tokens: list[str] = Field(
        description="Texts of the tokens: `bytes:` and the bytes if they are not valid UTF-8, "
        "`token_id:` and the id if the token has no text. If a token ended the answer, it is the "
        "last one."
    )
    token_logprobs: list[float | None] = Field(description="Null for the first token of a prompt.")
    top_logprobs: list[dict[str, float] | None] = Field(
        description="Likeliest tokens at each position, and the token itself."
    )
    text_offset: list[int] = Field(description="Position in the choice's text of each token.")


class TextChoice(ResponseObject):
    """One of ``n`` answers to one of the prompts, or a part of it in a streamed response."""

    index: int = Field(description="Index of the prompt times `n`, plus the index of the answer.")
    text: str
    finish_reason: FinishReason | None
    logprobs: CompletionLogprobs | None


class TextCompletion(ResponseObject):
    """Response without streaming, or the data of an event in a streamed response."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = Field(
        None,
        description="In a streamed response, present if `stream_options.include_usage` is true. It "
        "is null in all chunks except the last.",
    )


@dataclass(frozen=True, slots=True)
class CompletionBuilder:
    """Builds the response to one request, or the chunks of its streamed response."""

    model: str
    prompts: Sequence[str | None]
    """The text to echo for each prompt; None for token ids, whose text the model returns."""
    n: int
    echo: bool
    logprobs: bool
    wants_usage: bool = False
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def complete(self, completions: Sequence[Completion]) -> TextCompletion:
        """Build a response without streaming."""
        choices = [
            TextChoice(
                index=index,
                text=self.echoed(index, completion) + completion.text,
                finish_reason=completion.finish_reason,
                logprobs=self._logprobs(index, completion),
            )
            for index, completion in enumerate(completions)
        ]
        return self._body(choices, usage=self._usage(completions))

    def delta(self, index: int, text: str) -> TextCompletion:
        """Build a chunk with new text for choice ``index``."""
        choice = TextChoice(index=index, text=text, finish_reason=None, logprobs=None)
        return self._chunk([choice])

    def last(self, index: int, completion: Completion) -> TextCompletion:
        """Build the final chunk of choice ``index``, with all of its log-probabilities."""
        choice = TextChoice(
            index=index,
            text="",
            finish_reason=completion.finish_reason,
            logprobs=self._logprobs(index, completion),
        )
        return self._chunk([choice])

    def usage_chunk(self, completions: Sequence[Completion]) -> TextCompletion:
        """Build the usage chunk, which is sent after all answers."""
        return self._body([], usage=self._usage(completions))

    def echoed(self, index: int, completion: Completion | None = None) -> str:
        """Return the prompt's text in front of choice ``index``; empty without ``echo``.

        Parameters
        ----------
        completion
            The finished completion, which has the text of a prompt of token ids. Without it, the
            text of such a prompt is empty.
        """
        if not self.echo:
            return ""
        text = self.prompts[index // self.n]
        if text is not None or completion is None:
            return text or ""
        return b"".join(t.text for t in completion.scored_prompt or ()).decode("utf-8", "replace")

    def must_wait(self, index: int) -> bool:
        """Return True if choice ``index`` begins with a text that only its completion has."""
        return self.echo and self.prompts[index // self.n] is None

    def _usage(self, completions: Sequence[Completion]) -> Usage:
        """Add up the prompts' usage. A prompt that was sent twice counts twice."""
        starts = range(0, len(completions), self.n)
        parts = [usage(completions[start : start + self.n]) for start in starts]
        details = type(parts[0].prompt_tokens_details)(
            cached_tokens=sum(part.prompt_tokens_details.cached_tokens for part in parts)
        )
        return Usage(
            prompt_tokens=sum(part.prompt_tokens for part in parts),
            completion_tokens=sum(part.completion_tokens for part in parts),
            total_tokens=sum(part.total_tokens for part in parts),
            prompt_tokens_details=details,
        )

    def _chunk(self, choices: list[TextChoice]) -> TextCompletion:
        return self._body(choices, **({"usage": None} if self.wants_usage else {}))

    def _body(self, choices: list[TextChoice], **used: Usage | None) -> TextCompletion:
        return TextCompletion(
            id=self.id,
            object="text_completion",
            created=self.created,
            model=self.model,
            choices=choices,
            **used,
        )

    def _logprobs(self, index: int, completion: Completion) -> CompletionLogprobs | None:
        if not self.logprobs or completion.logprobs is None:
            return None
        prompt = completion.scored_prompt if self.echo else None
        tokens = [*(prompt or ()), *_generated(completion)]
        echoed = self.echoed(index, completion)
        offsets = _offsets(prompt or (), end=len(echoed))
        offsets += _offsets(tokens[len(offsets) :], start=len(echoed))
        return CompletionLogprobs(
            tokens=[_name(token.text, token.token_id) for token in tokens],
            token_logprobs=[token.logprob for token in tokens],
            top_logprobs=[_top(token) for token in tokens],
            text_offset=offsets,
        )


def _generated(completion: Completion) -> list[PromptToken]:
    """Return the generated tokens; one without text, such as the end of a text, is empty."""
    assert completion.logprobs is not None
    size = len(completion.logprobs)
    texts = completion.tokens or (b"",) * size
    ids = completion.token_ids or (-1,) * size
    top = completion.top_logprobs or ((),) * size
    return [PromptToken(*token) for token in zip(texts, ids, completion.logprobs, top, strict=True)]


def _offsets(tokens: Iterable[PromptToken], *, start: int = 0, end: int | None = None) -> list[int]:
    """Return the position of each token in a text that begins at ``start``.

    Tokens may precede the text that are not part of it, such as BOS: if ``end`` is given, the last
    token ends there.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    at, offsets = start, list[int]()
    for token in tokens:
        offsets.append(at)
        at += len(decoder.decode(token.text))
    at += len(decoder.decode(b"", final=True))
    extra = 0 if end is None else at - end
    return [max(0, offset - extra) for offset in offsets]


def _top(token: PromptToken) -> dict[str, float] | None:
    if token.logprob is None:
        return None
    likeliest: dict[str, float] = {}
    for one in token.top_logprobs:  # of several with one name, the likeliest comes first
        likeliest.setdefault(_name(one.token, one.token_id), one.logprob)
    # Clients compare the token's number with the largest one, so both must be the same float.
    return likeliest | {_name(token.text, token.token_id): token.logprob}


def _name(text: bytes | None, token_id: int | None) -> str:
    """Return a name for a token, from which its bytes follow."""
    if not text:
        return "" if token_id is None or token_id < 0 else f"token_id:{token_id}"
    try:
        return text.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in text)
