"""Check models and providers of plug-ins."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from archon import api
from archon.lm.base import CAPABILITIES, LM, close
from archon.spec.reader import load_model_card
from archon.types import Completion, Message, Request, SamplingParams, TokenDelta

_REQUEST = Request((Message("user", "What is 17 + 25?"),), sampling=SamplingParams(max_tokens=64))


def check_lm(lm: LM) -> None:
    """Check a language model: numbers of samples, usage, prompts, deltas, concurrent calls.

    The model is asked about ten times. It is not closed.

    Raises
    ------
    AssertionError
        A rule of ``archon.LM`` is broken.
    """
    unknown = set(lm.capabilities) - set(CAPABILITIES)
    assert not unknown, f"unknown capabilities: {', '.join(sorted(unknown))}"
    assert "chat" in lm.capabilities, "a language model has the capability 'chat'"
    asyncio.run(_check_lm(lm))


async def _check_lm(lm: LM) -> None:
    for n, first in ((1, 0), (3, 0), (2, 5)):
        found = await lm.generate(replace(_REQUEST, n=n, first_draw=first))
        _check_completions(found, n, first)
    both = await asyncio.gather(
        lm.generate(_REQUEST), lm.generate(replace(_REQUEST, n=2, first_draw=3))
    )
    _check_completions(both[0], 1, 0)
    _check_completions(both[1], 2, 3)
    deltas: list[str] = []

    def on_event(event: object) -> None:
        if isinstance(event, TokenDelta):
            deltas.append(event.text)

    (streamed,) = await lm.generate(_REQUEST, on_event)
    if "stream" in lm.capabilities:
        assert "".join(deltas) == streamed.reasoning + streamed.text, (
            "the deltas of a call must add up to its text"
        )


def _check_completions(found: list[Completion], n: int, first: int) -> None:
    assert len(found) == n, f"generate returned {len(found)} completions for n={n}"
    for index, completion in enumerate(found):
        draw = first + index
        assert completion.draw == draw, (
            f"completion {index} has draw {completion.draw}; with first_draw={first} it is {draw}"
        )
        assert isinstance(completion.text, str), "the text of a completion must be a string"
        assert completion.usage.calls == 1, "the usage of a completion has calls=1"
        assert completion.usage.prompt_tokens >= 0 <= completion.usage.completion_tokens
        assert len(completion.prompts) == 1, (
            "prompts maps a digest of the prompt to its number of tokens"
        )


def check_provider(model: str, *, asks: bool = False) -> None:
    """Check that a model string such as ``house:small`` names a model.

    Parameters
    ----------
    model
        The model string.
    asks
        Whether to ask the model, as ``check_lm`` does. A server must then be reachable.

    Raises
    ------
    AssertionError
        The string does not name a model of a plug-in, or the model breaks a rule.
    """
    card = load_model_card(model).spec
    assert card.name == model, f"{model} became a card named {card.name}"
    if asks:
        lm = api.lm(model)
        try:
            check_lm(lm)
        finally:
            asyncio.run(close(lm))
