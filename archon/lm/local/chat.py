"""From messages to the token ids that a model was trained to read.

A chat model carries a Jinja2 template. It is somebody else's program, so it runs in a sandbox and a
process of its own (``template.py``); and what messages say cannot forge its control tokens (see
``guarded``). A base model has no template: it gets a plain transcript to continue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from archon.errors import ModelFileError, UnsupportedError
from archon.lm.local.template import ChatTemplate, TemplateError
from archon.lm.local.text import TextRules
from archon.lm.local.tokenizer import TextTokenizer
from archon.lm.transcript import transcript
from archon.types import Message

_GUARDS = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))
"""Characters of private use: more than a message of ordinary length can hold."""


class ChatFormat:
    """How one model wants to be spoken to.

    Raises
    ------
    ModelFileError : the model's template cannot be compiled.
    """

    def __init__(self, rules: TextRules, tokenizer: TextTokenizer) -> None:
        self._rules, self._tokenizer = rules, tokenizer
        self._template = None
        if rules.chat_template is not None:
            try:
                self._template = ChatTemplate(rules.chat_template)
            except TemplateError as error:
                raise ModelFileError(f"{rules.path}: damaged chat template: {error}") from None

    @property
    def template(self) -> str:
        """The source of the chat template; empty for a base model."""
        return self._rules.chat_template or ""

    def encode(
        self, messages: Sequence[Message], variables: Mapping[str, object] | None = None
    ) -> list[int]:
        """Messages → token ids, ending where the model is to speak.

        Parameters
        ----------
        variables : of the chat template, in addition to those that every template gets.

        Raises
        ------
        UnsupportedError : the template refuses these messages, or they hold what is no text.
        """
        if any("\ud800" <= letter <= "\udfff" for m in messages for letter in m.content):
            raise UnsupportedError("a message holds half of a surrogate pair, which is no text")
        if self._template is None:
            return [*self._rules.begin_ids, *self._tokenizer.encode(transcript(messages))]
        taken = frozenset[str]().union(*(m.content for m in messages), *_strings(variables))
        guard = next((g for g in map(chr, chain(*_GUARDS)) if g not in taken), None)
        if guard is None:
            raise UnsupportedError(
                "a message holds every private-use character that could guard it"
            )
        turns = [
            {"role": m.role, "content": self._tokenizer.guarded(m.content, guard)} for m in messages
        ]
        try:
            rendered = self._template.render(
                **self._guarded(variables or {}, guard),
                messages=turns,
                tools=None,
                documents=None,
                add_generation_prompt=True,
                bos_token=self._rules.bos,
                eos_token=self._rules.eos,
            )
        except TemplateError as error:
            raise UnsupportedError(f"the chat template refuses these messages: {error}") from None
        return self._tokenizer.encode_template(rendered, guard)

    def _guarded(self, value: Any, guard: str) -> Any:
        """Plain data whose strings cannot forge control tokens."""
        if isinstance(value, str):
            return self._tokenizer.guarded(value, guard)
        if isinstance(value, Mapping):
            return {key: self._guarded(each, guard) for key, each in value.items()}
        return [self._guarded(each, guard) for each in value] if isinstance(value, list) else value


def _strings(value: object) -> Iterator[str]:
    """The strings within plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
