"""The endpoints that embed, rank and score texts with sentence encoders and reward models.

A reward model scores each text as a reply to the query. An encoder embeds both, and the score is
the cosine of the angle between their vectors.
"""

from __future__ import annotations

import base64
import itertools
import secrets
import struct
import time
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar, cast

from archon.lm.base import LM
from archon.lm.compute import collect_scored
from archon.lm.embedding import Embedder, Vector
from archon.lm.reward import RewardModel
from archon.serve.endpoint import Exchange, ModelEndpoint
from archon.serve.fields import BadRequestError
from archon.serve.request_object import read_request
from archon.serve.responses import ResponseObject
from archon.serve.text_requests import (
    Embedding,
    EmbeddingList,
    EmbeddingRequest,
    RankedDocument,
    Ranking,
    RerankRequest,
    Score,
    ScoreList,
    ScoreRequest,
    TextsRequest,
    TextUsage,
)
from archon.types import Message

T = TypeVar("T")
B = TypeVar("B", bound=TextsRequest)

_BATCH = 32
"""Texts that a model reads together. The attention of a batch of an encoder is in memory at once.
"""


class _TextEndpoint(ModelEndpoint, Generic[B]):
    """Base of the endpoints of this module: reads the request, and counts the tokens."""

    kind: type[B]

    async def _run(
        self, exchange: Exchange, body: B, param: str, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> tuple[T, TextUsage]:
        """Do work as soon as a slot is free; return its result and what it has read.

        Raises
        ------
        BadRequestError
            The texts, which are in the field ``param``, exceed the model's context.
        """
        exchange.report_ignored(body)
        with collect_scored() as collected:
            result = await exchange.run(work)
        if body.truncate_prompt_tokens is None and any(one.is_truncated for one in collected):
            reason = (
                f"{param}: a text exceeds the model's context; shorten it, or send "
                "truncate_prompt_tokens -1 to cut it"
            )
            raise BadRequestError(reason, param=param, code="context_length_exceeded")
        tokens = sum(texts.num_tokens for texts in collected)
        exchange.metrics.count_prompt_tokens(tokens)
        return result, TextUsage(prompt_tokens=tokens, total_tokens=tokens)

    async def answer(self, exchange: Exchange) -> None:
        """See ``ModelEndpoint.answer``."""
        body = read_request(self.kind, await exchange.body(), is_strict=self.served.is_strict)
        await exchange.writer.send_json(await self.respond(exchange, body))

    @abstractmethod
    async def respond(self, exchange: Exchange, body: B) -> ResponseObject:
        """Return the response to a request."""

    def _check_count(self, param: str, texts: Sequence[str]) -> None:
        """Check that a request does not have too many texts.

        Raises
        ------
        BadRequestError
            It does.
        """
        limit = self.served.limits.max_inputs
        if len(texts) > limit:
            reason = f"{param}: the request has more than {limit} texts (--max-inputs)"
            raise BadRequestError(reason, param=param, code="too_many_inputs")


class Embeddings(_TextEndpoint[EmbeddingRequest]):
    """The ``POST /v1/embeddings`` endpoint."""

    kind = EmbeddingRequest

    async def respond(self, exchange: Exchange, body: EmbeddingRequest) -> EmbeddingList:
        """See ``_TextEndpoint.respond``."""
        lm = exchange.model(body.model, "embed")
        self._check_count("input", body.texts)

        async def work() -> list[Vector]:
            return await _embed(lm, body.texts, body.dimensions)

        vectors, used = await self._run(exchange, body, "input", work)
        encode = _base64 if body.encoding_format == "base64" else list
        data = [
            Embedding(object="embedding", index=index, embedding=encode(vector))
            for index, vector in enumerate(vectors)
        ]
        return EmbeddingList(object="list", data=data, model=body.model, usage=used)


class Rerank(_TextEndpoint[RerankRequest]):
    """The ``POST /v1/rerank`` endpoint."""

    kind = RerankRequest

    async def respond(self, exchange: Exchange, body: RerankRequest) -> Ranking:
        """See ``_TextEndpoint.respond``."""
        lm, texts = exchange.model(body.model, "embed", "reward"), body.texts
        self._check_count("documents", texts)

        async def work() -> list[float]:
            return await _scores(lm, [body.query] * len(texts), texts)

        scores, used = await self._run(exchange, body, "documents", work)
        order = sorted(range(len(texts)), key=lambda index: -scores[index])  # stable
        results = [
            RankedDocument(
                index=index,
                relevance_score=scores[index],
                **({"document": {"text": texts[index]}} if body.return_documents else {}),
            )
            for index in order[: body.top_n]
        ]
        return Ranking(
            id=f"rerank-{secrets.token_hex(12)}", model=body.model, results=results, usage=used
        )


class Scores(_TextEndpoint[ScoreRequest]):
    """The ``POST /v1/score`` endpoint."""

    kind = ScoreRequest

    async def respond(self, exchange: Exchange, body: ScoreRequest) -> ScoreList:
        """See ``_TextEndpoint.respond``."""
        lm = exchange.model(body.model, "embed", "reward")
        work = self._pairs(lm, body) if body.messages is None else self._replies(lm, body)
        scores, used = await self._run(exchange, body, body.texts_field, work)
        return ScoreList(
            id=f"score-{secrets.token_hex(12)}",
            object="list",
            created=int(time.time()),
            model=body.model,
            data=[Score(index=i, object="score", score=score) for i, score in enumerate(scores)],
            usage=used,
        )

    def _pairs(self, lm: LM, body: ScoreRequest) -> Callable[[], Coroutine[Any, Any, list[float]]]:
        if body.texts is not None:
            reason = "texts: replies need messages; send messages, or text_1 and text_2"
            raise BadRequestError(reason, param="texts", code="unsupported")
        first, second = body.pairs
        self._check_count(body.texts_field, second)
        return lambda: _scores(lm, first, second)

    def _replies(
        self, lm: LM, body: ScoreRequest
    ) -> Callable[[], Coroutine[Any, Any, list[float]]]:
        replies = body.replies
        self._check_count(body.texts_field, replies)
        limit = self.served.limits.max_messages
        assert body.messages is not None
        if len(body.messages) > limit:
            reason = f"messages: the request has more than {limit} messages (--max-messages)"
            raise BadRequestError(reason, param="messages", code="too_many_messages")
        if "reward" not in lm.capabilities:
            reason = f"messages: {body.model} is not a reward model; send text_1 and text_2"
            raise BadRequestError(reason, param="messages", code="unsupported")
        messages = tuple(message.message() for message in body.messages)
        return lambda: _rewards(cast(RewardModel, lm), messages, replies)


async def _embed(lm: LM, texts: Sequence[str], dimensions: int | None = None) -> list[Vector]:
    """Return the vectors of texts.

    Raises
    ------
    BadRequestError
        The vectors do not have the requested number of dimensions.
    """
    vectors: list[Vector] = []
    for batch in _batches(texts):
        vectors += await cast(Embedder, lm).embed(batch)
        size = len(vectors[0])
        if dimensions is not None and dimensions != size:
            reason = f"dimensions: the model's vectors have {size} dimensions and are not cut"
            raise BadRequestError(reason, param="dimensions", code="unsupported")
    return vectors


async def _scores(lm: LM, first: Sequence[str], second: Sequence[str]) -> list[float]:
    """Return the score of each pair of texts. Equal first texts in a row are read together."""
    if "reward" in lm.capabilities:
        scores: list[float] = []
        pairs = zip(first, second, strict=True)
        for query, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
            texts = [text for _, text in group]
            scores += await _rewards(cast(RewardModel, lm), (Message("user", query),), texts)
        return scores
    texts = list(dict.fromkeys([*first, *second]))  # each text once
    vectors = dict(zip(texts, await _embed(lm, texts), strict=True))
    return [
        sum(a * b for a, b in zip(vectors[x], vectors[y], strict=True))
        for x, y in zip(first, second, strict=True)
    ]


async def _rewards(
    lm: RewardModel, messages: tuple[Message, ...], texts: Sequence[str]
) -> list[float]:
    rewards: list[float] = []
    for batch in _batches(texts):
        rewards += await lm.score(messages, batch)
    return rewards


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]


def _base64(vector: Vector) -> str:
    """Encode numbers as 32-bit little-endian floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
