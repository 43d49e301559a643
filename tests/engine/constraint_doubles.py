"""Fake constraints for the tests of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

V = 304
END = 7
"""Token that ends free text, and ends a text where a choice allows it."""


def mask_of(tokens: Sequence[int]) -> Tensor:
    words = [0] * -(-V // 32)
    for token in tokens:
        words[token // 32] |= 1 << token % 32
    return torch.tensor([w - (w >> 31 << 32) for w in words], dtype=torch.int32)


@dataclass
class Script:
    """A constraint of steps: a list of tokens is forced, a set is a choice, None allows all."""

    steps: list[list[int] | set[int] | None]
    key: str = "script"
    ends_free_text: bool = False
    """True if an end of sequence in free text leads to the next step instead of ending the text."""

    def matcher(self, index: int, max_tokens: int) -> ScriptMatcher:
        return ScriptMatcher(list(self.steps), self.ends_free_text)


@dataclass
class ScriptMatcher:
    steps: list[list[int] | set[int] | None]
    ends_free_text: bool
    taken: list[int] = field(default_factory=list)
    ended: bool = False

    @property
    def finished(self) -> bool:
        return self.ended or not self.steps

    def forced(self) -> Sequence[int]:
        step = self.steps[0] if self.steps else None
        return step if isinstance(step, list) else ()

    def allowed(self) -> Tensor | None:
        [step, *_] = self.steps
        assert not isinstance(step, list)
        return None if step is None else mask_of(sorted(step))

    def advance(self, token: int) -> None:
        [step, *rest] = self.steps
        if step is None:
            if token == END:
                self.steps, self.ended = rest, not self.ends_free_text
        elif isinstance(step, list):
            assert token == step[0]
            self.steps = [step[1:], *rest] if step[1:] else rest
        else:
            assert token in step
            self.ended, self.steps = token == END, rest
