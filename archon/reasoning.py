"""Reasoning and answer: what a reasoning model writes before its answer is not its answer.

Reasoning ends with a marker that the model was trained to write. Only what follows the last one is
the answer; text that a marker opens and none closes is reasoning that was cut off, and answers
nothing. ``PUBLISHED_MARKERS`` lists the markers of published models; a model card may name its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby


@dataclass(frozen=True, slots=True)
class ReasoningMarkers:
    """The strings around a model's reasoning."""

    start: str
    """Begins the reasoning; a chat template may write it into the prompt, so that the reply holds
    only the end. Empty: every reply begins within the reasoning."""
    end: str
    """Ends it; the answer follows the last one."""
    lead: str = ""
    """May follow the end marker; it is no part of the answer."""
    closing: str = ""
    """What is inserted to end reasoning early; by default the end marker on a line of its own."""

    @property
    def inserted(self) -> str:
        """The text that ends reasoning early."""
        return self.closing or f"\n{self.end}\n\n"


_GPT_OSS_STARTS = (
    "<|channel|>analysis",
    "<|start|>assistant<|channel|>analysis",
    "<|channel|>commentary",
    "<|start|>assistant<|channel|>commentary",
)
PUBLISHED_MARKERS = (
    ReasoningMarkers("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, SmolLM3, Phi-4-reasoning
    ReasoningMarkers("[THINK]", "[/THINK]"),  # Magistral
    *(
        ReasoningMarkers(
            start,
            "<|channel|>final",
            lead="<|message|>",
            closing="<|end|><|start|>assistant<|channel|>final<|message|>",
        )
        for start in _GPT_OSS_STARTS
    ),
    ReasoningMarkers("<reasoning>", "</reasoning>"),
    ReasoningMarkers("<thinking>", "</thinking>"),
    ReasoningMarkers("<thought>", "</thought>"),  # EXAONE Deep
    ReasoningMarkers("<seed:think>", "</seed:think>"),  # Seed-OSS
    ReasoningMarkers("◁think▷", "◁/think▷"),  # Kimi-VL-Thinking
    ReasoningMarkers(
        "<|START_THINKING|>", "<|END_THINKING|>", lead="<|START_RESPONSE|>"
    ),  # Command A Reasoning
    ReasoningMarkers(
        "<|begin_of_thought|>", "<|end_of_thought|>", lead="<|begin_of_solution|>"
    ),  # Sky-T1, OpenThinker
    ReasoningMarkers("<longcat_think>", "</longcat_think>"),
    ReasoningMarkers("<unused94>", "<unused95>"),  # MedGemma
)
_ENDS_ALONE = ("[BEGIN FINAL RESPONSE]",)  # Apriel
"""Published end markers whose models begin to reason without a marker."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's text in its two parts, which joined are the whole text."""

    reasoning: str
    """Everything up to the answer: the last end marker, and the white space after it, included; all
    of the text where it was cut off."""
    answer: str
    """What follows; empty where the reasoning was cut off."""
    is_cut_off: bool = False
    """The reasoning was begun and never ended."""


def split_reasoning(
    text: str,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
    *,
    is_open: bool | None = None,
) -> Reply:
    """Split a model's text into reasoning and answer.

    Parameters
    ----------
    markers
        Those that the model may use.
    is_open
        The prompt ends within reasoning, as where a chat template writes the start marker; by
        default where a marker's start is empty.

    >>> split_reasoning("<think>2 * 9</think>18").answer
    '18'
    >>> split_reasoning("<think>2 * 9 = ").is_cut_off
    True
    """
    rules = _rules_of(tuple(markers))
    end = max((found.end() for found in rules.ends.pattern.finditer(text)), default=0)
    if end == 0 and _is_open(markers, is_open):
        return Reply(text, "", is_cut_off=True)
    answer = text[end:]
    if end:
        between = rules.between.match(answer)
        answer = answer[between.end() :] if between else answer
    if rules.start_of_line.search(answer):
        return Reply(text, "", is_cut_off=True)
    return Reply(text[: len(text) - len(answer)], answer)


def opened_by(
    prompt: str, markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS
) -> ReasoningMarkers | None:
    """The markers of the reasoning within which a prompt ends; None where it does not."""
    prompt = prompt.rstrip()
    return next((m for m in markers if m.start and prompt.endswith(m.start)), None)


def cut_off_notice(num_cut_off: int, num_completions: int) -> str:
    """Reports the completions that gave no answer because they ended within their reasoning.

    >>> print(cut_off_notice(2, 16))
    2 of 16 completions ended within their reasoning; raise max_tokens or set max_thinking_tokens
    """
    return (
        f"{num_cut_off} of {num_completions} completions ended within their reasoning; "
        "raise max_tokens or set max_thinking_tokens"
    )


@dataclass(frozen=True, slots=True)
class Part:
    """Some text of a reply."""

    text: str
    is_reasoning: bool


class ReasoningStream:
    """Splits a reply into reasoning and answer while it comes.

    The parts do not depend on how the text is cut into pieces, but for one case: text in front of
    an end marker whose start is neither in the reply nor announced by ``is_open`` was passed on as
    the answer by then. Apart from this, and from an answer that begins to reason again, the parts
    joined are what ``split_reasoning`` makes of the whole.
    """

    def __init__(
        self,
        markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
        *,
        is_open: bool | None = None,
    ) -> None:
        self.is_reasoning = _is_open(markers, is_open)
        """The text so far ends within reasoning."""
        self._rules = _rules_of(tuple(markers))
        self._held = ""
        """Text of which it is not known yet what it belongs to."""
        self._blank = ""
        """White space that the reply began with; it belongs to what follows it."""
        self._has_answer = not markers
        """Some of the answer was passed on."""
        self._follows_end = False
        """Nothing but white space has come since an end marker."""
        self._begins_line = True
        """Nothing but blanks has come since the line of the answer began."""
        self._is_over = False

    def feed(self, text: str) -> list[Part]:
        """Take more text; returns what is known to be reasoning or answer by now."""
        parts: list[Part] = []
        is_inside = self.is_reasoning or not (self._follows_end or self._begins_line)
        if text and is_inside and not self._held and not self._rules.may_matter.search(text):
            self._add(text, self.is_reasoning, parts)  # most texts, and much faster
            return parts
        text = self._held + text
        at, was_at = 0, -1
        while was_at < at < len(text):
            step = self._in_reasoning if self.is_reasoning else self._in_answer
            at, was_at = step(text, at, parts), at
        self._held = text[at:]
        return _joined(parts)

    def finish(self) -> list[Part]:
        """The reply has ended: returns the rest."""
        self._is_over = True
        rest = self.feed("")
        return [*rest, Part(self._blank, is_reasoning=False)] if self._blank else rest

    def _in_reasoning(self, text: str, at: int, parts: list[Part]) -> int:
        """Pass reasoning on from ``at``, up to an end marker; returns where it is not sure."""
        sure = len(text) - self._held_back(text, at)
        end = self._rules.ends.pattern.search(text, at)
        if end is None or end.start() >= sure:
            self._add(text[at:sure], True, parts)
            return sure
        self._add(text[at : end.end()], True, parts)
        self._end_reasoning()
        return end.end()

    def _in_answer(self, text: str, at: int, parts: list[Part]) -> int:
        """Pass the answer on from ``at``, up to a marker; returns where it is not sure."""
        if self._follows_end:
            at = self._reaches_answer(text, at, parts)
            if self._follows_end:
                return at
        if not self._has_answer:
            blank = _BLANK.match(text, at)
            assert blank is not None
            self._blank += blank[0]
            at = blank.end()
        sure = len(text) - self._held_back(text, at)
        marker = self._rules.start_in_line.match(text, at) if self._begins_line else None
        marker = marker or self._rules.marker.search(text, at)
        if marker is None or (marker.end() if marker["start"] else marker.start() + 1) > sure:
            sure = min(sure, self._rules.sure_of_start(text, at, sure, self._begins_line))
            sure = len(text) if self._is_over else sure
            self._add(text[at:sure], False, parts)
            return sure
        # What was not passed on yet turns out to be reasoning.
        self._add(text[at : marker.start()], not self._has_answer, parts)
        self._add(marker[0], True, parts)
        if marker["start"]:
            self.is_reasoning = True
        else:
            self._end_reasoning()
        return marker.end()

    def _reaches_answer(self, text: str, at: int, parts: list[Part]) -> int:
        """Pass on what stands between an end marker and the answer; returns where that begins."""
        between = self._rules.between.match(text, at)
        assert between is not None
        self._add(between[0], True, parts)
        num_left = len(text) - between.end()
        may_be_lead = num_left == self._rules.leads.held_back(text, between.end())
        self._follows_end = not num_left or (may_be_lead and not self._is_over)
        return between.end()

    def _end_reasoning(self) -> None:
        self.is_reasoning, self._follows_end, self._begins_line = False, True, True

    def _held_back(self, text: str, at: int) -> int:
        """Length of the end of the text that may turn out to be an end marker."""
        return 0 if self._is_over else self._rules.ends.held_back(text, at)

    def _add(self, text: str, is_reasoning: bool, parts: list[Part]) -> None:
        if not text:
            return
        parts.append(Part(self._blank + text, is_reasoning))
        self._blank = ""
        if not is_reasoning:
            self._has_answer = True
            _, line_end, line = text.rpartition("\n")
            is_blank = not line.strip(" \t")
            self._begins_line = is_blank and (bool(line_end) or self._begins_line)


_LEAD_IN = "(?:(?:\ufeff|<s>|>)[ \\t]{0,3}){0,3}"
"""May stand in front of a start marker on its line: a byte-order mark, the token that begins a
text, the sign of a quotation. It is short, so that little text is held back for it."""
_ONLY_LEAD_IN = re.compile(_LEAD_IN)
_LONGEST_LEAD_IN = 3 * (len("<s>") + 3)
_LEAD_IN_BEGUN = ("<", "<s")


class _Names:
    """Strings to be found in a text that grows, in any letter case."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(dict.fromkeys(filter(None, names)))
        self.alternatives = rf"(?ai:{_alternatives(self.names) or '(?!)'})"
        self.pattern = re.compile(self.alternatives)
        self.beginnings = {
            name[:length].lower() for name in self.names for length in range(1, len(name))
        }
        self.longest = max(map(len, self.names), default=0)

    def held_back(self, text: str, at: int = 0) -> int:
        """Length of the longest end of the text, from ``at`` on, that a longer one of these begins
        with."""
        for length in range(min(self.longest - 1, len(text) - at), 0, -1):
            if text[-length:].lower() in self.beginnings:
                return length
        return 0


class _Rules:
    """What a stream looks for, made ready."""

    def __init__(self, markers: Sequence[ReasoningMarkers]) -> None:
        alone = _ENDS_ALONE if markers == PUBLISHED_MARKERS else ()
        self.ends = _Names([*(m.end for m in markers), *alone])
        self._starts = _Names(m.start for m in markers)
        self.leads = _Names(m.lead for m in markers)
        ends = self.ends.alternatives
        self.start_of_line = re.compile(
            rf"^[ \t]*+{_LEAD_IN}{self._starts.alternatives}", re.MULTILINE
        )
        start = rf"[ \t]*+{_LEAD_IN}(?!{ends})(?P<start>{self._starts.alternatives})"
        self.start_in_line = re.compile(start)
        """A start marker, from the beginning of a line on."""
        self.marker = re.compile(rf"(?<=\n){start}|(?:{ends})")
        """A start marker at the beginning of a line, or an end marker."""
        self.between = re.compile(rf"(?:\s++|{self.leads.alternatives})*+")
        """What stands between an end marker and the answer."""
        names = (*self.ends.names, *self._starts.names)
        first = "|".join(sorted({re.escape(name[0]) for name in names}))
        self.may_matter = re.compile(rf"\n|(?ai:{first})" if first else r"\n")
        """A letter that a text without markers need not have."""

    def sure_of_start(self, text: str, at: int, most: int, begins_line: bool) -> int:
        """How far a text certainly begins no start marker, with its last line from ``at`` on."""
        line_end = text.rfind("\n", at)
        if line_end < 0 and not begins_line:
            return most
        line = text[max(at, line_end + 1) :].lstrip(" \t")
        return len(text) - len(line) if self._may_start(line) else most

    def _may_start(self, line: str) -> bool:
        """Whether a line, blanks in front left out, may turn out to begin with a start marker."""
        if not self._starts.names or len(line) > self._starts.longest + _LONGEST_LEAD_IN:
            return False
        return any(
            _ONLY_LEAD_IN.fullmatch(line, 0, length) and self._is_begun(line[length:])
            for length in range(len(line) + 1)
        )

    def _is_begun(self, name: str) -> bool:
        return name in ("", *_LEAD_IN_BEGUN) or name.lower() in self._starts.beginnings


_BLANK = re.compile(r"\s*+")
_rules_of = lru_cache(64)(_Rules)


def _is_open(markers: Sequence[ReasoningMarkers], is_open: bool | None) -> bool:
    return any(not m.start for m in markers) if is_open is None else is_open


def _alternatives(names: Iterable[str]) -> str:
    """A pattern of the names, the longest first."""
    return "|".join(map(re.escape, sorted(filter(None, names), key=len, reverse=True)))


def _joined(parts: list[Part]) -> list[Part]:
    """Neighbouring parts of one kind become one."""
    return [
        Part("".join(part.text for part in neighbours), is_reasoning)
        for is_reasoning, neighbours in groupby(parts, key=lambda part: part.is_reasoning)
    ]
