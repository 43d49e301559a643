"""What is sent otherwise than a card says, because the server rejects a field.

Only what leaves the meaning of a sample as it is, or what no server need know, is changed without
asking: ``seed`` and ``stream_options`` are left out, and ``max_tokens`` is sent as
``max_completion_tokens``, or left out where that is rejected, too. All of it is noted on every
sample. Other fields would change what is measured: their rejection is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from archon.spec.model import OpenAICard


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How the requests of one card are sent."""

    max_tokens_field: str | None
    """None leaves the bound out."""
    omitted: frozenset[str] = frozenset()
    """Fields left out besides those that the card omits."""

    def without(self, field: str) -> Adaptation | None:
        """The same for a server that rejects a field; None where it cannot do without."""
        if field in ("seed", "stream_options"):
            return replace(self, omitted=self.omitted | {field})
        if field == "max_tokens":
            return replace(self, max_tokens_field="max_completion_tokens")
        if field == "max_completion_tokens":
            return replace(self, max_tokens_field=None)
        return None

    def changes(self, card: OpenAICard) -> list[tuple[str, str]]:
        """What differs from the card, and the key of the card that says the same."""
        told = {
            "seed": "samples cannot be reproduced",
            "stream_options": "streamed samples may come without a count of tokens",
        }
        changes = [
            (f"the server rejects {field!r}, which is not sent: {told[field]}", _omit(field))
            for field in sorted(self.omitted)
        ]
        if self.max_tokens_field is None:
            reason = "the server rejects 'max_tokens', which is not sent: texts may be longer"
            changes.append((reason, _omit("max_tokens")))
        elif self.max_tokens_field != card.max_tokens_field:
            reason = f"the server rejects 'max_tokens'; {self.max_tokens_field!r} is sent instead"
            changes.append((reason, f'"max_tokens_field": "{self.max_tokens_field}"'))
        return changes


def _omit(field: str) -> str:
    return f'"omit": ["{field}"]'


def as_card_says(card: OpenAICard) -> Adaptation:
    """Nothing is sent otherwise."""
    return Adaptation(None if "max_tokens" in card.omit else card.max_tokens_field)
