"""Limit the length of a sample's reasoning, and constrain the text after it.

A sample reasons freely, and a constraint applies only to the text after the reasoning. The number
of reasoning tokens may be limited. At the limit, the tokens of the end marker are forced, just as a
grammar forces text (``archon.engine.sampling.constraint``). The limit does not change a sample's
random numbers. A sample with fewer reasoning tokens is the same as without a limit.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from torch import Tensor

from archon.engine.sampling.constraint import Matcher
from archon.lm.local.constraint import CompiledConstraint
from archon.lm.local.tokenizer import TextTokenizer
from archon.reasoning import ReasoningMarkers, ReasoningStream, opened_by

_TAIL = 64
"""Number of tokens at the end of a prompt that are searched for a start marker."""


class ReasoningRules:
    """One model's reasoning markers, and their tokens.

    Parameters
    ----------
    markers
        Markers that the model may use.
    template
        The model's chat template. The markers that it contains are preferred.
    """

    def __init__(
        self, markers: Sequence[ReasoningMarkers], tokenizer: TextTokenizer, template: str
    ) -> None:
        self.markers = tuple(markers)
        self._tokenizer = tokenizer
        names = [name for m in markers for name in (m.start, m.end, m.lead)]
        self._marker_bytes = {
            token: name.encode()
            for name, token in tokenizer.special_ids.items()
            if token in tokenizer.control_ids and any(name in marker for marker in names)
        }
        used = [m for m in markers if m.end in template or (m.start and m.start in template)]
        self._known = used[0] if used else None
        self.is_used = bool(used) or any(not m.start for m in markers)
        """True if the chat template contains markers, or if replies always begin with reasoning."""

    def token_bytes(self, token: int) -> bytes:
        """Return a token's bytes. For a control token in a marker, return its name as bytes."""
        return self._marker_bytes.get(token) or self._tokenizer.token_bytes(token)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Decode token ids to text that includes reasoning markers."""
        return b"".join(map(self.token_bytes, token_ids)).decode("utf-8", "replace")

    def opened_by(self, prompt_ids: Sequence[int]) -> ReasoningMarkers | None:
        """Return the markers of the reasoning that a prompt leaves open, or None."""
        return opened_by(self.decode(prompt_ids[-_TAIL:]), self.markers)

    def closing_ids(self, markers: ReasoningMarkers | None) -> list[int]:
        """Return the token ids that end reasoning; by default, for the model's usual markers."""
        markers = markers or self._known or self.markers[0]
        return self._tokenizer.encode_template(markers.inserted, position="after text")

    def opening_ids(self) -> list[int]:
        """Return the token ids that start reasoning, or [] if replies begin within reasoning."""
        markers = self._known or self.markers[0]
        start = f"{markers.start}\n" if markers.start else ""
        return self._tokenizer.encode_template(start, position="after text")


class ReasoningConstraint:
    """``TokenConstraint`` that limits the reasoning of samples and constrains the text after it.

    Parameters
    ----------
    inner
        Constraint on the text after the reasoning; None for free text.
    opened_by
        Markers of the reasoning that the prompt leaves open; None if it leaves none open.
    is_open
        True if samples begin within reasoning.
    begins
        Whether to force samples to begin with reasoning.
    budget
        Maximum number of reasoning tokens.
    """

    def __init__(
        self,
        rules: ReasoningRules,
        tokenizer: TextTokenizer,
        inner: CompiledConstraint | None,
        *,
        opened_by: ReasoningMarkers | None = None,
        is_open: bool = False,
        begins: bool = False,
        budget: int | None = None,
    ) -> None:
        self.key = "" if inner is None else inner.key
        self.rules, self.stop_ids, self.inner = rules, tokenizer.stop_ids, inner
        self.is_open, self._budget = is_open, budget
        self.opening_ids = rules.opening_ids() if begins and not is_open else []
        self.closing_ids = rules.closing_ids(opened_by)

    def matcher(self, index: int, max_tokens: int) -> ReasoningMatcher:
        """Return a matcher for a sample of at most ``max_tokens`` tokens."""
        budget = self._budget
        reserved = None if self.inner is None else self.inner.room
        if reserved is not None:
            left = max_tokens - reserved - len(self.closing_ids) - len(self.opening_ids)
            budget = max(0, left) if budget is None else min(budget, max(0, left))
        return ReasoningMatcher(self, index, max_tokens, budget)


class ReasoningMatcher:
    """Matches one sample: free reasoning, then constrained text (``Matcher``).

    The inner constraint applies from the end of the reasoning, or from the beginning of the answer
    if the sample does not reason.
    """

    def __init__(
        self, constraint: ReasoningConstraint, index: int, max_tokens: int, budget: int | None
    ) -> None:
        self._constraint, self._inner = constraint, constraint.inner
        self._index, self._num_left, self._budget = index, max_tokens, budget
        self._stream = ReasoningStream(constraint.rules.markers, is_open=constraint.is_open)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._num_reasoning = 0
        """Number of reasoning tokens so far."""
        self._pending = constraint.opening_ids
        """Marker tokens that must still be forced."""
        self._is_closing = False
        self._undecided: list[int] = []
        """Tokens so far, as long as they may be part of a start marker."""
        self._matcher: Matcher | None = None
        self._ended = False
        self._close_at_limit()

    @property
    def finished(self) -> bool:
        if self._matcher is not None:
            return self._matcher.finished
        return self._ended and not self._pending

    def forced(self) -> Sequence[int]:
        if self._matcher is not None:
            return self._matcher.forced()
        return self._pending

    def allowed(self) -> Tensor | None:
        return None if self._matcher is None else self._matcher.allowed()

    def advance(self, token: int) -> None:
        if self._matcher is not None:
            self._matcher.advance(token)
            return
        if self._pending:
            self._advance_pending(token)
            return
        if token in self._constraint.stop_ids:
            self._end(token)
            return
        self._num_left -= 1
        was_reasoning = self._stream.is_reasoning
        has_answer = self._follow(token)
        if self._stream.is_reasoning:
            self._num_reasoning += 1
            self._undecided.clear()
            self._close_at_limit()
        elif was_reasoning:
            self._constrain([])
        elif self._inner is not None:
            self._undecided.append(token)
            if has_answer:
                self._constrain(self._undecided)

    def _advance_pending(self, token: int) -> None:
        assert token == self._pending[0]
        self._pending = self._pending[1:]
        self._num_left -= 1
        self._follow(token)
        if self._pending:
            return
        if self._is_closing:
            self._is_closing = False
            self._constrain([])
        else:
            self._close_at_limit()

    def _follow(self, token: int) -> bool:
        """Decode a token; return True if it belongs to the answer rather than to reasoning."""
        text = self._decoder.decode(self._constraint.rules.token_bytes(token))
        return any(not p.is_reasoning and p.text.strip() for p in self._stream.feed(text))

    def _end(self, token: int) -> None:
        """Handle a stop token. If a constraint follows, open reasoning is closed instead."""
        if self._inner is None:
            self._ended = True
        elif self._stream.is_reasoning:
            self._close()
        else:
            self._constrain([*self._undecided, token])

    def _close_at_limit(self) -> None:
        is_at_limit = self._budget is not None and self._num_reasoning >= self._budget
        if is_at_limit and self._stream.is_reasoning and not self._pending:
            self._close()

    def _close(self) -> None:
        self._pending, self._is_closing = self._constraint.closing_ids, True

    def _constrain(self, tokens: Sequence[int]) -> None:
        """Apply the inner constraint to the already sampled ``tokens`` and to all later ones."""
        if self._inner is not None:
            self._matcher = self._inner.matcher(self._index, self._num_left + len(tokens))
            for token in tokens:
                self._matcher.advance(token)
