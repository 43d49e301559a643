"""The JSON objects that answer a request of the chat-completions protocol."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from archon.graph.trace import Trace
from archon.serve.requests import ChatRequest
from archon.types import Completion, Event, NodeFinished, NodeStarted, total_usage


@dataclass(frozen=True, slots=True)
class Replies:
    """Makes the JSON objects that answer one request."""

    chat: ChatRequest
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """The reply that is not streamed."""
        choices = [
            {
                "index": index,
                "message": _message(completion),
                "finish_reason": completion.finish_reason,
                "logprobs": _logprobs(completion),
                **self._extension(completion),
            }
            for index, completion in enumerate(completions)
        ]
        return {**self._head("chat.completion"), "choices": choices, "usage": usage(completions)}

    def begin(self, index: int) -> dict[str, Any]:
        """The first chunk of a text."""
        return self._chunk({"index": index, "delta": {"role": "assistant", "content": ""}})

    def more(self, index: int, text: str, *, is_reasoning: bool = False) -> dict[str, Any]:
        """A chunk with more of a text, or of the reasoning before it."""
        key = "reasoning_content" if is_reasoning else "content"
        return self._chunk({"index": index, "delta": {key: text}})

    def end(self, index: int, completion: Completion) -> dict[str, Any]:
        """The last chunk of a text; it carries all log-probabilities."""
        choice = {
            "index": index,
            "delta": {},
            "finish_reason": completion.finish_reason,
            "logprobs": _logprobs(completion),
        }
        return self._chunk(choice | self._extension(completion))

    def usage_chunk(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """The chunk behind all texts, where usage is asked for."""
        head = self._head("chat.completion.chunk")
        return {**head, "choices": [], "usage": usage(completions)}

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        choice = {"finish_reason": None, "logprobs": None} | choice
        chunk = {**self._head("chat.completion.chunk"), "choices": [choice]}
        return chunk | {"usage": None} if self.chat.wants_usage else chunk

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.chat.model}

    def _extension(self, completion: Completion) -> dict[str, Any]:
        trace = completion.trace
        if not self.chat.wants_trace or not isinstance(trace, Trace):
            return {}
        outputs = trace.nodes[trace.output].outputs
        value = outputs[0].value if outputs else None
        return {"archon": {"value": value, "trace": trace.to_json()}}


def progress(event: Event) -> dict[str, Any] | None:
    """What a comment in the stream says of a node; None for what is no node's progress."""
    match event:
        case NodeStarted(node=node):
            return {"node": node, "event": "started"}
        case NodeFinished(node=node, candidates=candidates, seconds=seconds):
            took = round(seconds, 3)
            return {"node": node, "event": "finished", "candidates": candidates, "seconds": took}
        case _:
            return None


def usage(completions: Sequence[Completion]) -> dict[str, Any]:
    """Tokens of all nodes, as OpenAI counts them.

    Each distinct prompt counts once, however many texts it brought.
    """
    total = total_usage(completions)
    prompts = {digest: n for c in completions for digest, n in c.prompts.items()}
    prompt_tokens = sum(prompts.values())
    computed_tokens = total.prompt_tokens - total.cached_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "total_tokens": prompt_tokens + total.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": max(0, prompt_tokens - computed_tokens)},
    }


def model_list(names: Sequence[str]) -> dict[str, Any]:
    """The reply of ``GET /v1/models``."""
    return {"object": "list", "data": [model_object(name) for name in names]}


def model_object(name: str) -> dict[str, Any]:
    """One entry of it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "archon"}


def _message(completion: Completion) -> dict[str, Any]:
    """The answer, and what was reasoned before it, where anything was."""
    message = {"role": "assistant", "content": completion.text, "refusal": None}
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    return message


def _logprobs(completion: Completion) -> dict[str, Any] | None:
    """Of each token that is text.

    Where the bytes of the tokens are not known, they are named by their ids (``token_id:42``).
    """
    if completion.logprobs is None:
        return None
    content: list[dict[str, Any]] = []
    for i, logprob in enumerate(completion.logprobs):
        if completion.tokens is not None:
            spelt = completion.tokens[i]
            if not spelt:  # the end of the text, or another control token
                continue
            name, numbers = spelt.decode("utf-8", "replace"), list(spelt)
        else:
            ids = completion.token_ids
            name, numbers = "" if ids is None else f"token_id:{ids[i]}", None
        content.append({"token": name, "logprob": logprob, "bytes": numbers, "top_logprobs": []})
    return {"content": content, "refusal": None}
