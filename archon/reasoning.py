"""Reasoning and answer: what a reasoning model writes before its answer is not its answer.

Reasoning ends with a marker that the model was trained to write. Only what follows the last one is
the answer; text that a marker opens and none closes is reasoning that was cut off, and answers
nothing. ``PUBLISHED_MARKERS`` lists the markers of published models; a model card may name its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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


PUBLISHED_MARKERS = (
    ReasoningMarkers("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, SmolLM3, Phi-4-reasoning
    ReasoningMarkers("[THINK]", "[/THINK]"),  # Magistral
    ReasoningMarkers(
        "<|channel|>analysis",
        "<|channel|>final",
        lead="<|message|>",
        closing="<|end|><|start|>assistant<|channel|>final<|message|>",
    ),  # gpt-oss
    ReasoningMarkers("<reasoning>", "</reasoning>"),
    ReasoningMarkers("<thinking>", "</thinking>"),
    ReasoningMarkers("<thought>", "</thought>"),  # EXAONE Deep
    ReasoningMarkers("<seed:think>", "</seed:think>"),  # Seed-OSS
    ReasoningMarkers("◁think▷", "◁/think▷"),  # Kimi-VL-Thinking
    ReasoningMarkers(
        "<|START_THINKING|>", "<|END_THINKING|>", lead="<|START_RESPONSE|>"
    ),  # Command A Reasoning
)


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
    markers : those that the model may use.
    is_open : the prompt ends within reasoning, as where a chat template writes the start marker; by
        default where a marker's start is empty.

    >>> split_reasoning("<think>2 * 9</think>18").answer
    '18'
    >>> split_reasoning("<think>2 * 9 = ").is_cut_off
    True
    """
    end = max((text.rfind(m.end) + len(m.end) for m in markers if m.end in text), default=0)
    if end == 0 and _is_open(markers, is_open):
        return Reply(text, "", is_cut_off=True)
    answer = text[end:]
    if end:
        leads = _alternatives(m.lead for m in markers) or "(?!)"
        between = re.match(rf"(?:\s|{leads})*", answer)
        answer = answer[between.end() :] if between else answer
    starts = _alternatives(m.start for m in markers)
    if starts and re.search(rf"^[ \t]*(?:{starts})", answer, re.MULTILINE):
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
        self._ends = _Markers(m.end for m in markers)
        self._starts = _Markers(m.start for m in markers if m.start)
        self._leads = _Markers(m.lead for m in markers if m.lead)
        names = self._starts.pattern
        self._start_of_line = re.compile(rf"(?<=\n)[ \t]*(?:{names})")
        self._start = re.compile(rf"(?:\A|(?<=\n))[ \t]*(?:{names})")
        self._held = ""
        """Text of which it is not known yet what it belongs to."""
        self._is_over = False
        self._has_answer = False
        """Some of the answer was passed on."""
        self._follows_end = False
        """Nothing but white space has come since an end marker."""
        self._begins_line = True
        """Nothing but blanks has come since the line of the answer began."""

    def feed(self, text: str) -> list[Part]:
        """Take more text; returns what is known to be reasoning or answer by now."""
        self._held += text
        parts: list[Part] = []
        while self._held and (self._in_reasoning if self.is_reasoning else self._in_answer)(parts):
            pass
        return _joined(parts)

    def finish(self) -> list[Part]:
        """The reply has ended: returns the rest."""
        self._is_over = True
        return self.feed("")

    def _in_reasoning(self, parts: list[Part]) -> bool:
        """Pass reasoning on up to an end marker; False where more text is needed."""
        held_back = 0 if self._is_over else self._ends.held_back(self._held)
        end = self._ends.find(self._held, held_back)
        if end is None:
            self._pass_on(len(self._held) - held_back, parts)
            return False
        self._pass_on(end.end(), parts)
        self._end_reasoning()
        return True

    def _in_answer(self, parts: list[Part]) -> bool:
        """Pass the answer on up to a marker; False where more text is needed."""
        if self._follows_end and not self._reaches_answer(parts):
            return False
        held_back = 0 if self._is_over else self._ends.held_back(self._held)
        start = (self._start if self._begins_line else self._start_of_line).search(self._held)
        end = self._ends.find(self._held, held_back)
        if end is not None and (start is None or end.start() < start.end()):
            self._turn(end, parts)
            self._end_reasoning()
            return True
        if start is not None and start.end() <= len(self._held) - held_back:
            self._turn(start, parts)
            self.is_reasoning = True
            return True
        sure = len(self._held)
        if not self._is_over:
            sure -= max(held_back, self._may_begin_reasoning())
        # White space in front of a first marker belongs to the reasoning.
        if self._is_over or self._has_answer or not self._ends.names or self._held[:sure].strip():
            self._pass_on(sure, parts)
        return False

    def _reaches_answer(self, parts: list[Part]) -> bool:
        """Pass on what stands between an end marker and the answer; False until that begins."""
        while True:
            self._pass_on(len(self._held) - len(self._held.lstrip()), parts, is_reasoning=True)
            lead = self._leads.find(self._held)
            if lead is None or lead.start():
                break
            self._pass_on(lead.end(), parts, is_reasoning=True)
        may_be_lead = not self._is_over and self._leads.held_back(self._held) == len(self._held)
        if not self._held or may_be_lead:
            return False
        self._follows_end = False
        return True

    def _turn(self, marker: re.Match[str], parts: list[Part]) -> None:
        """Pass on the answer in front of a marker, which makes reasoning of it if nothing of it was
        passed on before, and the marker."""
        length = marker.end() - marker.start()
        self._pass_on(marker.start(), parts, is_reasoning=not self._has_answer)
        self._pass_on(length, parts, is_reasoning=True)

    def _end_reasoning(self) -> None:
        self.is_reasoning, self._follows_end, self._begins_line = False, True, True

    def _may_begin_reasoning(self) -> int:
        """Length of the last line if it may turn out to be a start marker, without its blanks."""
        _, line_end, line = self._held.rpartition("\n")
        name = line.lstrip(" \t")
        is_line = bool(line_end) or self._begins_line
        return len(name) if is_line and self._starts.held_back(name) == len(name) else 0

    def _pass_on(self, length: int, parts: list[Part], *, is_reasoning: bool | None = None) -> None:
        text, self._held = self._held[:length], self._held[length:]
        if not text:
            return
        is_reasoning = self.is_reasoning if is_reasoning is None else is_reasoning
        parts.append(Part(text, is_reasoning))
        if not is_reasoning:
            self._has_answer = True
            _, line_end, line = text.rpartition("\n")
            is_blank = not line.strip(" \t")
            self._begins_line = is_blank and (bool(line_end) or self._begins_line)


class _Markers:
    """Strings to be found in a text that grows."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.pattern = _alternatives(self.names) or "(?!)"
        self._pattern = re.compile(self.pattern)
        self._longest = max(map(len, self.names), default=0)
        self._beginnings = {name[:length] for name in self.names for length in range(len(name))}

    def find(self, text: str, held_back: int = 0) -> re.Match[str] | None:
        """The first one that is complete and begins before the end that is held back, which more
        text may make a longer one."""
        match = self._pattern.search(text)
        if match is not None and match.start() >= len(text) - held_back:
            return None
        return match

    def held_back(self, text: str) -> int:
        """Length of the longest end of the text that a longer string of these begins with."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            if text[-length:] in self._beginnings:
                return length
        return 0


def _is_open(markers: Sequence[ReasoningMarkers], is_open: bool | None) -> bool:
    return any(not m.start for m in markers) if is_open is None else is_open


def _alternatives(names: Iterable[str]) -> str:
    """A pattern of the names, the longest first."""
    return "|".join(map(re.escape, sorted(filter(None, names), key=len, reverse=True)))


def _joined(parts: list[Part]) -> list[Part]:
    """Neighbouring parts of one kind become one."""
    joined: list[Part] = []
    for part in parts:
        if joined and joined[-1].is_reasoning == part.is_reasoning:
            joined[-1] = Part(joined[-1].text + part.text, part.is_reasoning)
        else:
            joined.append(part)
    return joined
