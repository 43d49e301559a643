"""Separate a model's reasoning from its answer.

Reasoning ends with a marker that the model was trained to write, such as ``</think>``. The text
after the last end marker is the answer. If a start marker has no end marker, the text after it is
reasoning that was cut off, and there is no answer. ``PUBLISHED_MARKERS`` are the markers of
published models; a model card may name other markers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby


@dataclass(frozen=True, slots=True)
class ReasoningMarkers:
    """The strings before and after a model's reasoning."""

    start: str
    """String before the reasoning. If it is empty, every reply begins within the reasoning.

    If the chat template writes it at the end of the prompt, the reply contains only the end marker.
    """
    end: str
    """String after the reasoning."""
    lead: str = ""
    """String that may follow the end marker and is not part of the answer."""
    closing: str = ""
    """Text to insert to end reasoning early; by default, the end marker on a separate line."""

    @property
    def inserted(self) -> str:
        """Text to insert to end reasoning early."""
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
"""End markers of published models whose reasoning begins without a marker."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's text, split into ``reasoning + answer``."""

    reasoning: str
    """Text before the answer, including the last end marker and the white space after it. If the
    reasoning was cut off, this is the complete text.
    """
    answer: str
    """The text after the reasoning; empty if the reasoning was cut off."""
    is_cut_off: bool = False
    """Whether the reasoning was cut off before an end marker, so that there is no answer."""


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
        Markers that the model may use.
    is_open
        Whether the prompt ends within reasoning, for example with a start marker from the chat
        template. By default, True if any start marker is empty.

    >>> split_reasoning("<think>2 * 9</think>18").answer
    '18'
    >>> split_reasoning("<think>2 * 9 = ").is_cut_off
    True
    """
    patterns = _compiled(tuple(markers))
    end = max((found.end() for found in patterns.ends.pattern.finditer(text)), default=0)
    if end == 0 and _is_open(markers, is_open):
        return Reply(text, "", is_cut_off=True)
    answer = text[end:]
    if end:
        answer = answer[patterns.after_end(answer) :]
    if patterns.start_of_line.search(answer):
        return Reply(text, "", is_cut_off=True)
    return Reply(text[: len(text) - len(answer)], answer)


def opened_by(
    prompt: str, markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS
) -> ReasoningMarkers | None:
    """Return the markers whose start marker ends the prompt, or None if there are none."""
    prompt = prompt.rstrip()
    return next((m for m in markers if m.start and prompt.endswith(m.start)), None)


def cut_off_notice(num_cut_off: int, num_completions: int) -> str:
    """Return a message about completions that have no answer because their reasoning was cut off.

    >>> print(cut_off_notice(2, 16))
    2 of 16 completions ended within their reasoning; raise max_tokens or set max_thinking_tokens
    """
    return (
        f"{num_cut_off} of {num_completions} completions ended within their reasoning; "
        "raise max_tokens or set max_thinking_tokens"
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a streamed reply, which is either reasoning or answer."""

    text: str
    is_reasoning: bool


class ReasoningStream:
    """Incrementally splits a streamed reply into reasoning and answer.

    The concatenated parts equal ``split_reasoning`` of the whole reply, however it is chunked, with
    two exceptions. Text already returned as answer cannot become reasoning later. This affects text
    before an end marker that has no start marker (neither in the reply nor implied by ``is_open``),
    and the answer before a second start marker.
    """

    def __init__(
        self,
        markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
        *,
        is_open: bool | None = None,
    ) -> None:
        self.is_reasoning = _is_open(markers, is_open)
        """Whether the text so far ends within reasoning."""
        self._patterns = _compiled(tuple(markers))
        self._pending = ""
        """Text that is held back because it may be part of a marker."""
        self._leading_space = ""
        """White space at the beginning of the reply, to be returned together with the next text."""
        self._has_answer = not markers
        """Whether any part of the answer has been returned."""
        self._follows_end = False
        """Whether only white space has been received since an end marker."""
        self._begins_line = True
        """Whether the current line of the answer is blank so far."""
        self._is_finished = False

    def feed(self, text: str) -> list[Part]:
        """Add text; return the text that is now certain to be reasoning or answer."""
        parts: list[Part] = []
        is_inside = self.is_reasoning or not (self._follows_end or self._begins_line)
        if text and is_inside and not self._pending and not self._patterns.relevant.search(text):
            self._add(text, self.is_reasoning, parts)  # most texts, and much faster
            return parts
        text = self._pending + text
        position, previous = 0, -1
        while previous < position < len(text):
            read = self._read_reasoning if self.is_reasoning else self._read_answer
            position, previous = read(text, position, parts), position
        self._pending = text[position:]
        return _joined(parts)

    def finish(self) -> list[Part]:
        """End the reply, and return the text that was held back."""
        self._is_finished = True
        rest = self.feed("")
        if self._leading_space:
            rest.append(Part(self._leading_space, is_reasoning=False))
        return rest

    def _read_reasoning(self, text: str, start: int, parts: list[Part]) -> int:
        """Append reasoning from ``start`` up to an end marker to ``parts``.

        Return the position up to which the text has been read.
        """
        stop = self._before_partial_end(text, start)
        end = self._patterns.ends.pattern.search(text, start)
        if end is None or end.start() >= stop:
            self._add(text[start:stop], True, parts)
            return stop
        self._add(text[start : end.end()], True, parts)
        self._end_reasoning()
        return end.end()

    def _read_answer(self, text: str, start: int, parts: list[Part]) -> int:
        """Append the answer from ``start`` up to a marker to ``parts``.

        Return the position up to which the text has been read.
        """
        if self._follows_end:
            start = self._skip_to_answer(text, start, parts)
            if self._follows_end:
                return start
        if not self._has_answer:
            answer_start = len(text) - len(text[start:].lstrip())
            self._leading_space += text[start:answer_start]
            start = answer_start
        stop = self._before_partial_end(text, start)
        marker = self._patterns.start_in_line.match(text, start) if self._begins_line else None
        marker = marker or self._patterns.marker.search(text, start)
        if marker is None or (marker.end() if marker["start"] else marker.start() + 1) > stop:
            if not self._is_finished:
                stop = self._patterns.before_partial_start(text, start, stop, self._begins_line)
            self._add(text[start:stop], False, parts)
            return stop
        # If no answer has been returned yet, the text before the marker is reasoning, too.
        self._add(text[start : marker.start()], not self._has_answer, parts)
        self._add(marker[0], True, parts)
        if marker["start"]:
            self.is_reasoning = True
        else:
            self._end_reasoning()
        return marker.end()

    def _skip_to_answer(self, text: str, start: int, parts: list[Part]) -> int:
        """Append the text between an end marker and the answer to ``parts`` as reasoning.

        Return the position at which the answer begins.
        """
        end = self._patterns.after_end(text, start)
        self._add(text[start:end], True, parts)
        num_left = len(text) - end
        may_be_lead = num_left == self._patterns.leads.partial_length(text, end)
        self._follows_end = not num_left or (may_be_lead and not self._is_finished)
        return end

    def _end_reasoning(self) -> None:
        self.is_reasoning, self._follows_end, self._begins_line = False, True, True

    def _before_partial_end(self, text: str, start: int) -> int:
        """Return the position of the longest suffix that may become an end marker."""
        partial = 0 if self._is_finished else self._patterns.ends.partial_length(text, start)
        return len(text) - partial

    def _add(self, text: str, is_reasoning: bool, parts: list[Part]) -> None:
        if not text:
            return
        parts.append(Part(self._leading_space + text, is_reasoning))
        self._leading_space = ""
        if not is_reasoning:
            self._has_answer = True
            _, line_end, line = text.rpartition("\n")
            is_blank = not line.strip(" \t")
            self._begins_line = is_blank and (bool(line_end) or self._begins_line)


_LEAD_IN = "(?:(?:\ufeff|<s>|>)[ \\t]{0,3}){0,3}"
"""Matches text that may precede a start marker on its line: a byte-order mark, the
beginning-of-text token ``<s>``, or the quotation mark ``>``. It matches only short texts, so that
little text is held back.
"""
_ONLY_LEAD_IN = re.compile(_LEAD_IN)
_LONGEST_LEAD_IN = 3 * (len("<s>") + 3)
_PARTIAL_LEAD_INS = ("<", "<s")


class _Strings:
    """Finds strings in a growing text, regardless of case."""

    def __init__(self, strings: Iterable[str]) -> None:
        self.strings = tuple(dict.fromkeys(filter(None, strings)))
        longest_first = sorted(self.strings, key=len, reverse=True)
        self.alternatives = rf"(?ai:{'|'.join(map(re.escape, longest_first)) or '(?!)'})"
        self.pattern = re.compile(self.alternatives)
        self.prefixes = {
            string[:length].lower() for string in self.strings for length in range(1, len(string))
        }
        self.longest = max(map(len, self.strings), default=0)

    def partial_length(self, text: str, start: int) -> int:
        """Return the length of the longest suffix of ``text[start:]`` that is a prefix of a string.

        A complete string does not count.
        """
        for length in range(min(self.longest - 1, len(text) - start), 0, -1):
            if text[-length:].lower() in self.prefixes:
                return length
        return 0


class _Patterns:
    """Compiled regular expressions for a set of markers."""

    def __init__(self, markers: Sequence[ReasoningMarkers]) -> None:
        alone = _ENDS_ALONE if markers == PUBLISHED_MARKERS else ()
        self.ends = _Strings([*(m.end for m in markers), *alone])
        self._starts = _Strings(m.start for m in markers)
        self.leads = _Strings(m.lead for m in markers)
        ends = self.ends.alternatives
        self.start_of_line = re.compile(
            rf"^[ \t]*+{_LEAD_IN}{self._starts.alternatives}", re.MULTILINE
        )
        start = rf"[ \t]*+{_LEAD_IN}(?!{ends})(?P<start>{self._starts.alternatives})"
        self.start_in_line = re.compile(start)
        """Matches a start marker, from the beginning of its line."""
        self.marker = re.compile(rf"(?<=\n){start}|(?:{ends})")
        """Matches a start marker at the beginning of a line, or an end marker anywhere."""
        self._between = re.compile(rf"(?:\s++|{self.leads.alternatives})*+")
        first = {re.escape(marker[0]) for marker in self.ends.strings + self._starts.strings}
        self.relevant = re.compile(rf"\n|(?ai:{'|'.join(sorted(first))})" if first else r"\n")
        """Matches the possible beginning of a marker or of a line."""

    def after_end(self, text: str, start: int = 0) -> int:
        """Return the position of the answer in a text whose last end marker ends at ``start``."""
        between = self._between.match(text, start)
        return between.end() if between else start

    def before_partial_start(self, text: str, start: int, stop: int, begins_line: bool) -> int:
        """Return the position of the last line if it may become a start marker; otherwise ``stop``.

        The result is at most ``stop``.
        """
        line_end = text.rfind("\n", start)
        if line_end < 0 and not begins_line:
            return stop
        line = text[max(start, line_end + 1) :].lstrip(" \t")
        return min(stop, len(text) - len(line)) if self._may_start(line) else stop

    def _may_start(self, line: str) -> bool:
        """Return True if an incomplete line may still begin with a start marker."""
        if not self._starts.strings or len(line) > self._starts.longest + _LONGEST_LEAD_IN:
            return False
        return any(
            _ONLY_LEAD_IN.fullmatch(line, 0, length) and self._is_prefix(line[length:])
            for length in range(len(line) + 1)
        )

    def _is_prefix(self, text: str) -> bool:
        return text in ("", *_PARTIAL_LEAD_INS) or text.lower() in self._starts.prefixes


_compiled = lru_cache(64)(_Patterns)


def _is_open(markers: Sequence[ReasoningMarkers], is_open: bool | None) -> bool:
    return any(not m.start for m in markers) if is_open is None else is_open


def _joined(parts: list[Part]) -> list[Part]:
    """Merge neighbouring parts that are both reasoning or both answer."""
    return [
        Part("".join(part.text for part in neighbours), is_reasoning)
        for is_reasoning, neighbours in groupby(parts, key=lambda part: part.is_reasoning)
    ]
