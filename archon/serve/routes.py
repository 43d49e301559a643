"""Routes of a served model, for errors about requests to other routes."""

from __future__ import annotations

from archon.lm.base import LM
from archon.serve.fields import BadRequestError

_ROUTES = {
    "chat": ("/v1/chat/completions",),
    "completion": ("/v1/completions",),
    "embed": ("/v1/embeddings", "/v1/rerank", "/v1/score"),
    "reward": ("/v1/rerank", "/v1/score"),
}
"""Capability → the routes that need it."""
SERVED = frozenset(_ROUTES)
"""Capabilities of which a served model has at least one."""


def wrong_route(name: str, lm: LM) -> BadRequestError:
    """Return the error for a request to a route that the model does not have."""
    routes = [
        route for kind, those in _ROUTES.items() if kind in lm.capabilities for route in those
    ]
    listed = " or ".join(f"POST {route}" for route in dict.fromkeys(routes))
    reason = f"model: {name} {_ability(lm.capabilities)}; use {listed}"
    return BadRequestError(reason, param="model", code="unsupported")


def _ability(capabilities: frozenset[str]) -> str:
    if "completion" in capabilities:
        return "generates text and embeds none"
    if "chat" in capabilities:
        return "only answers conversations"
    return "only embeds texts" if "embed" in capabilities else "only scores texts"
