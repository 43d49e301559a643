"""Responses in memory, so that later requests can continue and read them."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon.serve.fields import BadRequestError
from archon.types import Message

MAX_RESPONSES = 1000
"""Maximum number of stored responses."""
MAX_BYTES = 64 * 1024 * 1024
"""Maximum total size of stored responses, with their conversations."""
_WHERE = (
    f"responses live in this server's memory; the oldest are dropped above {MAX_RESPONSES} "
    f"responses or {MAX_BYTES // 1024**2} MiB, and all when the server stops"
)


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response, its input and the conversation up to its answer."""

    body: Mapping[str, Any]
    """The response as JSON data."""
    input_items: Sequence[Mapping[str, Any]]
    """The messages of its request as JSON data, without those of earlier responses."""
    conversation: tuple[Message, ...]
    """All messages up to the answer, without instructions."""
    items: Mapping[str, Message | None]
    """Id of each item of input and output → its message; None for reasoning."""

    @property
    def num_bytes(self) -> int:
        """Upper bound on the size of the texts: messages are shared with earlier responses."""
        texts = [message.content for message in self.conversation]
        data = json.dumps([self.body, self.input_items, texts], ensure_ascii=False)
        return len(data.encode("utf-8", "replace"))


class ResponseStore:
    """The newest responses of a server. The oldest are dropped at the limits.

    Only the event loop's thread may use it.
    """

    def __init__(self, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES) -> None:
        self._max_responses, self._max_bytes = max_responses, max_bytes
        self._responses: OrderedDict[str, tuple[StoredResponse, int]] = OrderedDict()
        self._items: dict[str, Message | None] = {}
        self._num_bytes = 0

    def add(self, stored: StoredResponse) -> None:
        """Store a response, and drop the oldest ones above the limits."""
        num_bytes = stored.num_bytes
        self._responses[stored.body["id"]] = stored, num_bytes
        self._items |= stored.items
        self._num_bytes += num_bytes
        while len(self._responses) > self._max_responses or self._num_bytes > self._max_bytes:
            self._drop(next(iter(self._responses)))

    def find(self, id: str, *, param: str | None = None, status: int = 404) -> StoredResponse:
        """Return a stored response.

        Parameters
        ----------
        param
            The request's field that contains the id, for the error.

        Raises
        ------
        BadRequestError
            No such response is stored.
        """
        if id not in self._responses:
            field = "" if param is None else f"{param}: "
            reason = f"{field}the response {id[:100]!r} is not stored; {_WHERE}"
            code = "previous_response_not_found" if param else "response_not_found"
            raise BadRequestError(reason, param=param, code=code, status=status)
        return self._responses[id][0]

    def find_item(self, id: str, *, param: str) -> Message | None:
        """Return the message of a stored item; None for reasoning.

        Raises
        ------
        BadRequestError
            No stored response has the item.
        """
        if id not in self._items:
            reason = f"{param}: the item {id[:100]!r} is not stored; {_WHERE}"
            raise BadRequestError(reason, param=param, code="item_not_found")
        return self._items[id]

    def delete(self, id: str) -> None:
        """Drop a stored response.

        Raises
        ------
        BadRequestError
            No such response is stored.
        """
        self.find(id)
        self._drop(id)

    def _drop(self, id: str) -> None:
        stored, num_bytes = self._responses.pop(id)
        self._num_bytes -= num_bytes
        for item in stored.items:
            self._items.pop(item, None)
