"""Endpoints that read and delete stored responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from archon.serve.asgi_io import encode_json
from archon.serve.errors import failure
from archon.serve.fields import BadRequestError
from archon.serve.responses_api.objects import DeletedResponse, InputItemList
from archon.serve.responses_api.store import ResponseStore

_DEFAULT_ITEMS = 20
_MAX_ITEMS = 100

Endpoint = Callable[[HttpRequest], Awaitable[Response]]


def stored_response_endpoints(store: ResponseStore) -> dict[str, Endpoint]:
    """Return the endpoints of the operations on stored responses."""

    def answering(read: Callable[[HttpRequest], Mapping[str, Any]]) -> Endpoint:
        async def endpoint(http: HttpRequest) -> Response:
            try:
                return _json(read(http))
            except BadRequestError as error:
                response = failure(error)
                return _json(response.body().to_json(), response.status)

        return endpoint

    def retrieve(http: HttpRequest) -> Mapping[str, Any]:
        if http.query_params.get("stream", "false").lower() == "true":
            reason = "stream: stored responses are not streamed; leave it out"
            raise BadRequestError(reason, param="stream", code="unsupported")
        return store.find(http.path_params["id"]).body

    def delete(http: HttpRequest) -> Mapping[str, Any]:
        store.delete(http.path_params["id"])
        deleted = DeletedResponse(id=http.path_params["id"], object="response", deleted=True)
        return deleted.to_json()

    def input_items(http: HttpRequest) -> Mapping[str, Any]:
        items = list(store.find(http.path_params["id"]).input_items)
        return _page(items, http.query_params).to_json()

    return {
        "response_input": answering(input_items),
        "response": answering(retrieve),
        "response_deletion": answering(delete),
    }


def _page(items: list[Mapping[str, Any]], query: Mapping[str, str]) -> InputItemList:
    """Return the part of a list that ``order``, ``after`` and ``limit`` select.

    Raises
    ------
    BadRequestError
        A parameter is invalid.
    """
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise BadRequestError("order: it must be asc or desc", param="order", code="invalid_value")
    if order == "desc":
        items = items[::-1]
    limit = query.get("limit", str(_DEFAULT_ITEMS))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MAX_ITEMS):
        reason = f"limit: it must be an integer from 1 to {_MAX_ITEMS}"
        raise BadRequestError(reason, param="limit", code="invalid_value")
    if (after := query.get("after")) is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            reason = f"after: the response has no item {after[:100]!r}"
            raise BadRequestError(reason, param="after", code="invalid_value")
        items = items[ids.index(after) + 1 :]
    shown = items[: int(limit)]
    return InputItemList(
        object="list",
        data=[dict(item) for item in shown],
        first_id=shown[0]["id"] if shown else None,
        last_id=shown[-1]["id"] if shown else None,
        has_more=len(items) > len(shown),
    )


def _json(data: Mapping[str, Any], status: int = 200) -> Response:
    return Response(encode_json(data), status, media_type="application/json")
