"""Reasoning on the tokens of one model: where it begins, and how it is ended.

A draw may be let free while it reasons, and be bound by a form only behind its reasoning; and its
reasoning may be bounded. Where the bound is reached, the tokens of the end marker are forced, as
those are that a form leaves no choice about (``archon.engine.sampling.constraint``). The noise of a
draw does not depend on the bound: below it, the draw is what it would be without.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from torch import Tensor

from archon.engine.sampling.constraint import Matcher
from archon.lm.local.constraint import Form
from archon.lm.local.tokenizer import TextTokenizer
from archon.reasoning import ReasoningMarkers, ReasoningStream, opened_by

_TAIL = 64
"""Tokens at the end of a prompt among which a start marker is looked for."""


class ReasoningRules:
    """How one model marks its reasoning.

    Parameters
    ----------
    markers : those that it may use.
    template : its chat template, which tells which of them it does use.
    """

    def __init__(
        self, markers: Sequence[ReasoningMarkers], tokenizer: TextTokenizer, template: str
    ) -> None:
        self.markers = tuple(markers)
        self._tokenizer = tokenizer
        names = [name for m in markers for name in (m.start, m.end, m.lead)]
        self._spelt_out = {
            token: name.encode()
            for name, token in tokenizer.special_ids.items()
            if token in tokenizer.control_ids and any(name in marker for marker in names)
        }
        used = [m for m in markers if m.end in template or (m.start and m.start in template)]
        self._known = used[0] if used else None
        self.is_used = bool(used) or any(not m.start for m in markers)
        """The model is known to reason."""

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token; a control token that markers are made of has those of its name."""
        return self._spelt_out.get(token) or self._tokenizer.token_bytes(token)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Ids → text, the markers included."""
        return b"".join(map(self.token_bytes, token_ids)).decode("utf-8", "replace")

    def opened_by(self, prompt_ids: Sequence[int]) -> ReasoningMarkers | None:
        """The markers of the reasoning within which a prompt ends; None where it does not."""
        return opened_by(self.decode(prompt_ids[-_TAIL:]), self.markers)

    def closing_ids(self, markers: ReasoningMarkers | None) -> list[int]:
        """Tokens that end reasoning which these markers, or the model's usual ones, began."""
        markers = markers or self._known or self.markers[0]
        return self._tokenizer.encode_template(markers.inserted)

    def opening_ids(self) -> list[int]:
        """Tokens that begin reasoning where the prompt did not."""
        markers = self._known or self.markers[0]
        return self._tokenizer.encode_template(f"{markers.start}\n") if markers.start else []


class ReasoningForm:
    """Bounds the reasoning of draws and binds what follows it (``TokenConstraint``).

    Parameters
    ----------
    form : of what follows the reasoning; None leaves it free.
    opened_by : the markers of the reasoning that the prompt began.
    is_open : the draw begins within reasoning.
    begins : reasoning is begun where the prompt did not.
    budget : tokens of reasoning at most.
    """

    def __init__(
        self,
        rules: ReasoningRules,
        tokenizer: TextTokenizer,
        form: Form | None,
        *,
        opened_by: ReasoningMarkers | None = None,
        is_open: bool = False,
        begins: bool = False,
        budget: int | None = None,
    ) -> None:
        self.key = "" if form is None else form.key
        self._rules, self._stop_ids, self._form = rules, tokenizer.stop_ids, form
        self._is_open, self._budget = is_open, budget
        self._opening = rules.opening_ids() if begins and not is_open else []
        self._closing = rules.closing_ids(opened_by)

    def matcher(self, index: int, max_tokens: int) -> ReasoningMatcher:
        """Follows a draw of so many tokens at most, from its start."""
        budget = self._budget
        room = None if self._form is None else self._form.room
        if room is not None:  # the last line is kept room for
            most = max(0, max_tokens - room - len(self._closing) - len(self._opening))
            budget = most if budget is None else min(budget, most)
        return ReasoningMatcher(
            self._rules,
            self._stop_ids,
            self._form,
            index,
            max_tokens,
            is_open=self._is_open,
            opening=self._opening,
            closing=self._closing,
            budget=budget,
        )


class ReasoningMatcher:
    """A ``Matcher`` of one sample: free while it reasons, then bound.

    A form that begins behind free text begins as soon as the draw turns out not to reason; one that
    binds the whole text, where the reasoning ends.
    """

    def __init__(
        self,
        rules: ReasoningRules,
        stop_ids: frozenset[int],
        form: Form | None,
        index: int,
        max_tokens: int,
        *,
        is_open: bool,
        opening: Sequence[int],
        closing: Sequence[int],
        budget: int | None,
    ) -> None:
        self._rules, self._stop_ids, self._form = rules, stop_ids, form
        self._index, self._num_left = index, max_tokens
        self._closing, self._budget = list(closing), budget
        self._stream = ReasoningStream(rules.markers, is_open=is_open)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._num_reasoning = 0
        """Tokens drawn within the reasoning."""
        self._owed = list(opening)
        """Tokens of a marker that must follow."""
        self._is_closing = False
        self._undecided: list[int] = []
        """Tokens of a draw of which it is not known yet whether it reasons."""
        self._inner: Matcher | None = None
        self._ended = False
        self._close_when_due()

    @property
    def finished(self) -> bool:
        if self._inner is not None:
            return self._inner.finished
        return self._ended and not self._owed

    def forced(self) -> Sequence[int]:
        if self._inner is not None:
            return self._inner.forced()
        return self._owed

    def allowed(self) -> Tensor | None:
        return None if self._inner is None else self._inner.allowed()

    def advance(self, token: int) -> None:
        if self._inner is not None:
            self._inner.advance(token)
            return
        if self._owed:
            self._advance_owed(token)
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
            self._bind([])
        elif self._form is not None:
            self._undecided.append(token)
            if has_answer:
                self._bind(self._undecided)

    def _advance_owed(self, token: int) -> None:
        assert token == self._owed[0]
        self._owed = self._owed[1:]
        self._num_left -= 1
        self._follow(token)
        if self._owed:
            return
        if self._is_closing:
            self._is_closing = False
            self._bind([])
        else:
            self._close_when_due()

    def _follow(self, token: int) -> bool:
        """Read a token; whether the answer has begun with it."""
        text = self._decoder.decode(self._rules.token_bytes(token))
        return any(not p.is_reasoning and p.text.strip() for p in self._stream.feed(text))

    def _end(self, token: int) -> None:
        """The draw would end here. Where a form must follow its reasoning, that is closed first."""
        if self._form is None:
            self._ended = True
        elif self._stream.is_reasoning:
            self._close()
        else:
            self._bind([*self._undecided, token])

    def _close_when_due(self) -> None:
        is_due = self._budget is not None and self._num_reasoning >= self._budget
        if is_due and self._stream.is_reasoning and not self._owed:
            self._close()

    def _close(self) -> None:
        self._owed, self._is_closing = self._closing.copy(), True

    def _bind(self, tokens: Sequence[int]) -> None:
        """Hand over to the form, which reads these tokens of the draw first."""
        if self._form is not None:
            self._inner = self._form.matcher(self._index, self._num_left + len(tokens))
            for token in tokens:
                self._inner.advance(token)
