"""Reasoning and answer: what a reasoning model writes before its answer is not its answer.

Reasoning ends with a marker that the model was trained to write. Only what follows the last one is
the answer; text that a marker opens and none closes is reasoning that was cut off, and answers
nothing. ``PUBLISHED_MARKERS`` lists the markers of published models; a model card may name its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReasoningMarkers:
    """The strings around a model's reasoning."""

    start: str
    """Begins the reasoning; a chat template may write it into the prompt, so that the reply holds
    only the end. Empty where nothing but the end is ever written."""
    end: str
    """Ends it; the answer follows the last one."""


PUBLISHED_MARKERS = (
    ReasoningMarkers("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, SmolLM3, Phi-4-reasoning
    ReasoningMarkers("[THINK]", "[/THINK]"),  # Magistral
    ReasoningMarkers("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    ReasoningMarkers("<reasoning>", "</reasoning>"),
    ReasoningMarkers("<thinking>", "</thinking>"),
    ReasoningMarkers("<seed:think>", "</seed:think>"),  # Seed-OSS
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's text in its two parts."""

    reasoning: str
    """Everything up to and including the last end marker; all of the text where it was cut off."""
    answer: str
    """What follows; empty where the reasoning was cut off."""
    is_cut_off: bool = False
    """The reasoning was begun and never ended."""


def split_reasoning(
    text: str,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
    *,
    is_open: bool = False,
) -> Reply:
    """Split a model's text into reasoning and answer.

    Parameters
    ----------
    markers : those that the model may use.
    is_open : the prompt ends within reasoning, as where a chat template writes the start marker.

    >>> split_reasoning("<think>2 * 9</think>18").answer
    '18'
    >>> split_reasoning("<think>2 * 9 = ").is_cut_off
    True
    """
    end = max((text.rfind(m.end) + len(m.end) for m in markers if m.end in text), default=0)
    rest = text[end:]
    if end == 0 and is_open:
        return Reply(text, "", is_cut_off=True)
    starts = "|".join(re.escape(m.start) for m in markers if m.start)
    if starts and re.search(rf"^[ \t]*(?:{starts})", rest, re.MULTILINE):
        return Reply(text, "", is_cut_off=True)
    return Reply(text[:end], rest.lstrip() if end else rest)
