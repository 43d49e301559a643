"""Bodies of requests that embed, rank or score texts, and of their responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from archon.serve import fields
from archon.serve.fields import BadRequestError, Rule
from archon.serve.request_object import INTEGRAL, RequestBody, RequestObject
from archon.serve.requests import ChatMessage
from archon.serve.responses import ResponseObject

Texts = Annotated[list[str], Field(min_length=1, fail_fast=True)]


def _unsupported(advice: str, *neutral: object) -> Rule:
    return Rule("unsupported", neutral, advice)


_RULES: fields.Rules = {
    **dict.fromkeys(("user", "metadata", "request_id", "priority"), Rule("label")),
    "truncate": _unsupported("not supported; use truncate_prompt_tokens", False, "NONE"),
    "normalize": _unsupported("vectors always have length 1; leave it out", True),
    "prompt_name": _unsupported("prompts are not supported; put it into the texts"),
    "input_type": Rule("hint"),
    "task": Rule("hint"),
    "task_type": Rule("hint"),
    "add_special_tokens": _unsupported("the tokenizer adds them; leave it out", True),
}


_RANK_RULES: fields.Rules = {
    **_RULES,
    "rank_fields": _unsupported("documents have only a text; leave it out", []),
    "max_chunks_per_doc": Rule("hint"),
    "max_tokens_per_doc": Rule("hint"),
}


class TextsRequest(RequestBody):
    """Fields of all requests of this module."""

    rules = _RULES

    model: str
    truncate_prompt_tokens: Annotated[Literal[-1], INTEGRAL] | None = Field(
        None,
        description="-1 to cut texts that exceed the model's context. By default, they are an "
        "error.",
    )


def _no_token_ids(value: Any) -> Any:
    """Explain why token ids are refused: some clients send those of another model's tokenizer."""
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, list) or (isinstance(first, int) and not isinstance(first, bool)):
        reason = "token ids are not supported, since they belong to one tokenizer; send texts"
        raise PydanticCustomError("unsupported", "{reason}", {"reason": reason})
    return value


class EmbeddingRequest(TextsRequest):
    """The body of ``POST /v1/embeddings``."""

    input: Annotated[str | Texts, BeforeValidator(_no_token_ids)] = Field(
        description="One or several texts."
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1), INTEGRAL] | None = Field(
        None, description="Must be the model's number of dimensions, since vectors are not cut."
    )

    @property
    def texts(self) -> list[str]:
        """The texts, in order."""
        return [self.input] if isinstance(self.input, str) else self.input


class DocumentText(RequestObject):
    """A document to rank."""

    place = "documents[]."

    text: str


class RerankRequest(TextsRequest):
    """The body of ``POST /v1/rerank``."""

    rules = _RANK_RULES

    query: str
    documents: list[str | DocumentText] = Field(min_length=1, fail_fast=True)
    top_n: Annotated[int, Field(ge=1), INTEGRAL] | None = Field(
        None, description="Number of results; all by default."
    )
    return_documents: bool = False

    @property
    def texts(self) -> list[str]:
        """The texts of the documents, in order."""
        return [one if isinstance(one, str) else one.text for one in self.documents]


class ScoreRequest(TextsRequest):
    """The body of ``POST /v1/score``: pairs of texts, or replies to a conversation."""

    text_1: str | Texts | None = Field(
        None, description="The first text of all pairs, or of each pair. Also named `queries`."
    )
    text_2: str | Texts | None = Field(
        None, description="The second text of each pair. Also named `documents`."
    )
    queries: str | Texts | None = None
    documents: str | Texts | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)] | None = Field(
        None, description="A conversation, for a reward model."
    )
    texts: str | Texts | None = Field(None, description="Replies to `messages`.")

    @property
    def texts_field(self) -> str:
        """Name of the field with the texts to score."""
        if self.messages is not None:
            return "texts"
        return "documents" if self.text_2 is None else "text_2"

    @property
    def pairs(self) -> tuple[list[str], list[str]]:
        """The first and the second texts, equally many.

        Raises
        ------
        BadRequestError
            Some of them are missing, or their numbers differ.
        """
        first = _either("text_1", self.text_1, "queries", self.queries)
        second = _either("text_2", self.text_2, "documents", self.documents)
        if len(first) == 1:
            first *= len(second)
        if len(first) != len(second):
            name = "text_1" if self.text_1 is not None else "queries"
            reason = (
                f"{name}: {len(first)} first texts and {len(second)} second texts are no pairs; "
                "send one first text, or equally many"
            )
            raise BadRequestError(reason, param=name, code="invalid_value")
        return first, second

    @property
    def replies(self) -> list[str]:
        """The replies to ``messages``.

        Raises
        ------
        BadRequestError
            They are missing, or there are pairs as well.
        """
        for name in ("text_1", "text_2", "queries", "documents"):
            if getattr(self, name) is not None:
                reason = f"{name}: send either messages with texts, or pairs of texts"
                raise BadRequestError(reason, param=name, code="unsupported")
        if self.texts is None:
            raise BadRequestError("texts: missing; send the replies to messages", param="texts")
        return [self.texts] if isinstance(self.texts, str) else self.texts


def _either(
    name: str, value: str | list[str] | None, other: str, same: str | list[str] | None
) -> list[str]:
    if value is not None and same is not None:
        reason = f"{other}: is another name of {name}; send only one of them"
        raise BadRequestError(reason, param=other, code="unsupported")
    found = same if value is None else value
    if found is None:
        raise BadRequestError(f"{name}: missing", param=name, code="invalid_value")
    return [found] if isinstance(found, str) else found


# ----------------------------------------------------------------------------------- responses


class TextUsage(ResponseObject):
    """Number of tokens that the model has read; 0 if the model does not report it."""

    prompt_tokens: int
    total_tokens: int


class Embedding(ResponseObject):
    """The vector of one text, of length 1."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(
        description="Numbers, or the base64 of 32-bit little-endian floats."
    )


class EmbeddingList(ResponseObject):
    """Response to a request for embeddings."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: TextUsage


class RankedDocument(ResponseObject):
    """A document's place in the request, and its score."""

    index: int
    relevance_score: float
    document: dict[str, str] = Field(
        {}, description="The document's `text`, if `return_documents` is true."
    )


class Ranking(ResponseObject):
    """Response to a request to rank documents, the most relevant first."""

    id: str
    model: str
    results: list[RankedDocument]
    usage: TextUsage


class Score(ResponseObject):
    """The score of one pair or reply."""

    index: int
    object: Literal["score"]
    score: float


class ScoreList(ResponseObject):
    """Response to a request for scores."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[Score]
    usage: TextUsage
