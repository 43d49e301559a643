"""Reasoning as a constraint on tokens: where it begins, how long it may be, and what follows it.

A sample may reason freely and follow a constraint only after its reasoning, and its reasoning may
be limited. At the limit the tokens of the end marker are forced, like tokens that a grammar leaves
no choice about (``archon.engine.sampling.constraint``). The noise of a sample does not depend on
the limit: a sample that stays below it is the same as without it.
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
"""Tokens at the end of a prompt that are searched for a start marker."""


class ReasoningRules:
    """The reasoning markers of one model, in its tokens.

    Parameters
    ----------
    markers
        Those that the model may use.
    template
        Its chat template, which contains those that it does use.
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
        """Whether the model is known to reason."""

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token; a control token in a marker has those of its name."""
        return self._marker_bytes.get(token) or self._tokenizer.token_bytes(token)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Ids → text, with markers."""
        return b"".join(map(self.token_bytes, token_ids)).decode("utf-8", "replace")

    def opened_by(self, prompt_ids: Sequence[int]) -> ReasoningMarkers | None:
        """The markers of the reasoning that a prompt has opened; None if it has not."""
        return opened_by(self.decode(prompt_ids[-_TAIL:]), self.markers)

    def closing_ids(self, markers: ReasoningMarkers | None) -> list[int]:
        """Tokens that end reasoning, by these markers or the model's usual ones."""
        markers = markers or self._known or self.markers[0]
        return self._tokenizer.encode_template(markers.inserted)

    def opening_ids(self) -> list[int]:
        """Tokens that begin reasoning if the prompt has not."""
        markers = self._known or self.markers[0]
        return self._tokenizer.encode_template(f"{markers.start}\n") if markers.start else []


class ReasoningConstraint:
    """Limits the reasoning of samples and constrains what follows it (``TokenConstraint``).

    Parameters
    ----------
    inner
        Constraint on the text after the reasoning; None for free text.
    opened_by
        The markers of the reasoning that the prompt has opened.
    is_open
        The sample begins within reasoning.
    begins
        Begin reasoning if the prompt has not.
    budget
        Maximum number of tokens of reasoning.
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
        self._rules, self._stop_ids, self._inner = rules, tokenizer.stop_ids, inner
        self._is_open, self._budget = is_open, budget
        self._opening = rules.opening_ids() if begins and not is_open else []
        self._closing = rules.closing_ids(opened_by)

    def matcher(self, index: int, max_tokens: int) -> ReasoningMatcher:
        """A matcher for a sample of at most ``max_tokens`` tokens."""
        budget = self._budget
        room = None if self._inner is None else self._inner.room
        if room is not None:  # reserve tokens for the last line
            left = max(0, max_tokens - room - len(self._closing) - len(self._opening))
            budget = left if budget is None else min(budget, left)
        return ReasoningMatcher(
            self._rules,
            self._stop_ids,
            self._inner,
            index,
            max_tokens,
            is_open=self._is_open,
            opening=self._opening,
            closing=self._closing,
            budget=budget,
        )


class ReasoningMatcher:
    """A ``Matcher`` of one sample: free while it reasons, then constrained.

    A constraint after free text begins as soon as the sample turns out not to reason; one on the
    complete text, where the reasoning ends.
    """

    def __init__(
        self,
        rules: ReasoningRules,
        stop_ids: frozenset[int],
        inner: CompiledConstraint | None,
        index: int,
        max_tokens: int,
        *,
        is_open: bool,
        opening: Sequence[int],
        closing: Sequence[int],
        budget: int | None,
    ) -> None:
        self._rules, self._stop_ids, self._inner = rules, stop_ids, inner
        self._index, self._num_left = index, max_tokens
        self._closing, self._budget = list(closing), budget
        self._stream = ReasoningStream(rules.markers, is_open=is_open)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._num_reasoning = 0
        """Sampled tokens of reasoning."""
        self._pending = list(opening)
        """Tokens of a marker that are forced next."""
        self._is_closing = False
        self._undecided: list[int] = []
        """Tokens of a sample that may or may not turn out to reason."""
        self._matcher: Matcher | None = None
        self._ended = False
        self._close_when_due()

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
        if token in self._stop_ids:
            self._end(token)
            return
        self._num_left -= 1
        was_reasoning = self._stream.is_reasoning
        has_answer = self._follow(token)
        if self._stream.is_reasoning:
            self._num_reasoning += 1
            self._undecided.clear()
            self._close_when_due()
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
            self._close_when_due()

    def _follow(self, token: int) -> bool:
        """Read a token; return whether the answer has begun with it."""
        text = self._decoder.decode(self._rules.token_bytes(token))
        return any(not p.is_reasoning and p.text.strip() for p in self._stream.feed(text))

    def _end(self, token: int) -> None:
        """Handle a stop token. Open reasoning is closed first if a constraint must follow it."""
        if self._inner is None:
            self._ended = True
        elif self._stream.is_reasoning:
            self._close()
        else:
            self._constrain([*self._undecided, token])

    def _close_when_due(self) -> None:
        is_due = self._budget is not None and self._num_reasoning >= self._budget
        if is_due and self._stream.is_reasoning and not self._pending:
            self._close()

    def _close(self) -> None:
        self._pending, self._is_closing = self._closing.copy(), True

    def _constrain(self, tokens: Sequence[int]) -> None:
        """Continue with the inner constraint, which reads these tokens of the sample first."""
        if self._inner is not None:
            self._matcher = self._inner.matcher(self._index, self._num_left + len(tokens))
            for token in tokens:
                self._matcher.advance(token)
