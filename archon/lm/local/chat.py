"""Convert messages to a prompt's token ids, in the format that the model was trained on.

A chat model has a Jinja2 template. The template is untrusted code, so it runs in a sandbox in a
separate process (``template``). It renders the same string as transformers does, but message
content cannot produce control tokens (``content_mask``). A base model has no template; its prompt
is a plain transcript.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any

from archon.errors import ModelFileError, UnsupportedError
from archon.lm.local.content_mask import ContentMask, differs_only_by
from archon.lm.local.template import ChatTemplate, TemplateError, TemplateLimitError
from archon.lm.local.tokenizer import LONG_TEXT, TextTokenizer, TokenizerConfig
from archon.lm.openai.payload import transcript
from archon.lm.tool_calls.formats import ToolFormat, format_of
from archon.lm.tool_calls.messages import message_json, tool_json
from archon.spec.thinking import RESERVED_VARIABLES
from archon.types import Message, Tool

_MAX_CACHED = 256
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A rendered and encoded conversation."""

    ids: tuple[int, ...]
    text: str
    """The rendered prompt, in which control tokens are written by name."""
    notes: tuple[str, ...] = ()
    """Notes on changes to the messages or variables, such as an omitted system message."""


class ChatFormat:
    """The prompt format of one model.

    Raises
    ------
    ModelFileError
        The model's template cannot be compiled.
    ModelError
        The process that renders templates does not start.
    """

    def __init__(self, config: TokenizerConfig, tokenizer: TextTokenizer) -> None:
        self._config, self._tokenizer = config, tokenizer
        self._template = None
        # A pool renders each prompt for its key, just before the model renders it again.
        self._cached = lru_cache(_MAX_CACHED)(self._prompt)
        self._depends_on_time = "strftime_now" in (config.chat_template or "")
        if config.chat_template is not None:
            try:
                self._template = ChatTemplate(config.chat_template)
            except TemplateError as error:
                raise ModelFileError(f"{config.path}: damaged chat template: {error}") from None
            self._mask = ContentMask(tokenizer.control_names, self._template)

    @property
    def template(self) -> str:
        """Source code of the chat template; empty for a base model."""
        return self._config.chat_template or ""

    @cached_property
    def tool_format(self) -> ToolFormat | None:
        """Notation of the model's tool calls; None if the template has no tools."""
        has_tools = self._template is not None and "tools" in self._template.variables
        return format_of(self.template) if has_tools else None

    def encode(
        self, messages: Sequence[Message], variables: Mapping[str, object] | None = None
    ) -> list[int]:
        """Return the token ids of the prompt; see ``prompt``."""
        return list(self.prompt(messages, variables).ids)

    def prompt(
        self,
        messages: Sequence[Message],
        variables: Mapping[str, object] | None = None,
        tools: Sequence[Tool] = (),
    ) -> ChatPrompt:
        """Return the prompt for these messages, up to where the model's reply begins.

        The most recent prompts are cached, except long prompts and prompts of templates that read
        the time.

        Parameters
        ----------
        variables
            Additional template variables, such as ``enable_thinking``. Values must be JSON data.
        tools
            Tools that the model may call.

        Raises
        ------
        UnsupportedError
            The template rejects these messages, a variable is reserved or is not JSON data, or a
            text is not valid Unicode.
        """
        variables_json = _checked_json(variables or {})
        tools_json = json.dumps([tool_json(tool) for tool in tools], ensure_ascii=False)
        length = len(variables_json) + len(tools_json) + sum(map(text_length, messages))
        if self._depends_on_time or length > LONG_TEXT:
            return self._prompt(tuple(messages), variables_json, tools_json)
        return self._cached(tuple(messages), variables_json, tools_json)

    def _prompt(
        self, messages: tuple[Message, ...], variables_json: str, tools_json: str
    ) -> ChatPrompt:
        texts = [*(text for message in messages for text in _texts(message)), variables_json]
        tools = json.loads(tools_json)
        if tools:
            texts.append(tools_json)
        if any(map(_SURROGATE.search, texts)):
            raise UnsupportedError(
                "a message or a template variable contains half of a surrogate pair, which is not "
                "valid Unicode; remove it",
                field="messages",
            )
        variables: dict[str, Any] = json.loads(variables_json)
        if self._template is None:
            text = transcript(messages)
            ids = (*self._config.begin_ids, *self._tokenizer.encode(text))
            return ChatPrompt(ids, text, tuple(_unused(variables, "")))
        notes = list(_unused(variables, self._template.source))
        try:
            prompt = self._rendered(self._template, messages, variables, texts, tools)
        except TemplateLimitError as error:
            raise _refused(error) from None
        except TemplateError as error:
            merged = _with_system_in_user(messages)
            if merged is None:
                raise _refused(error) from None
            try:
                prompt = self._rendered(self._template, merged, variables, texts, tools)
            except TemplateError as other:
                raise _refused(other) from None
            notes.append(
                f"the chat template rejects the system role ({error}); "
                "the system text is prepended to the user's message instead"
            )
        notes += _omitted(messages, prompt.text)
        return replace(prompt, notes=tuple(notes))

    def _rendered(
        self,
        template: ChatTemplate,
        messages: Sequence[Message],
        variables: Mapping[str, Any],
        texts: Iterable[str],
        tools: list[dict[str, Any]],
    ) -> ChatPrompt:
        """Render the messages in the first form that the template accepts.

        Templates disagree on the form of earlier tool calls: most need arguments as an object, some
        as text, and some need content even if there is none.
        """
        forms = _FORMS if any(message.tool_calls for message in messages) else _FORMS[:1]
        if self.tool_format is not None and self.tool_format.has_short_ids:
            messages = [_with_short_ids(message) for message in messages]
        errors = list[TemplateError]()
        for form in forms:
            turns = [_turn(message, form) for message in messages]
            try:
                return self._rendered_turns(template, turns, variables, texts, tools)
            except TemplateLimitError:
                raise
            except TemplateError as error:
                errors.append(error)
        raise errors[0]

    def _rendered_turns(
        self,
        template: ChatTemplate,
        turns: Sequence[dict[str, Any]],
        variables: Mapping[str, Any],
        texts: Iterable[str],
        tools: list[dict[str, Any]],
    ) -> ChatPrompt:
        mask = self._mask.mask_for(texts)
        masked_turns = [self._masked_turn(turn, mask) for turn in turns]
        masked_tools = [
            {**tool, "function": self._mask.masked(tool["function"], mask)} for tool in tools
        ]
        text, masked = template.render_all(
            [
                self._values(turns, variables, tools),
                self._values(masked_turns, self._mask.masked(variables, mask), masked_tools),
            ]
        )
        assert text is not None
        if _SURROGATE.search(text):
            raise UnsupportedError(
                "the prompt rendered by the chat template contains half of a surrogate pair, "
                "which is not valid Unicode",
                field="messages",
            )
        if masked is not None and differs_only_by(mask, text, masked):
            return ChatPrompt(tuple(self._tokenizer.encode_template(text, masked)), text)
        # The template changes the content, so positions in the two prompts cannot be compared.
        if not self._is_unambiguous(text, masked, texts):
            raise UnsupportedError(
                "a message contains text that could become a control token, because the chat "
                "template changes the message; remove the names of control tokens from messages",
                field="messages",
            )
        return ChatPrompt(tuple(self._tokenizer.encode_template(text)), text)

    def _masked_turn(self, turn: Mapping[str, Any], mask: str) -> dict[str, Any]:
        """Mask the texts of a turn, but not the words of the protocol."""
        masked = {
            key: value if key == "role" else self._mask.masked(value, mask, turn["role"])
            for key, value in turn.items()
        }
        for call in masked.get("tool_calls", ()):
            call["type"] = "function"
        return masked

    def _values(
        self,
        turns: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any],
        tools: Sequence[dict[str, Any]] = (),
    ) -> dict[str, Any]:
        """Return the values of all template variables, as transformers sets them."""
        return {
            **self._config.template_tokens,
            **variables,
            "messages": turns,
            "tools": list(tools) or None,
            "documents": None,
            "add_generation_prompt": True,
        }

    def _is_unambiguous(self, text: str, masked: str | None, texts: Iterable[str]) -> bool:
        """Return True if it is certain that the template wrote every control token in ``text``.

        This is certain if the masked messages produce the same control tokens, or if the messages
        contain no first or last character of any control token.
        """
        if masked is not None:
            plain_ids, masked_ids = (
                [match.token.id for match in self._tokenizer.control_matches(t)]
                for t in (text, masked)
            )
            if plain_ids == masked_ids:
                return True
        ends = {end for name in self._tokenizer.control_names for end in (name[0], name[-1])}
        return ends.isdisjoint("".join(texts))


_FORMS = ((True, False), (True, True), (False, False), (False, True))
"""Forms of earlier tool calls: whether arguments are an object, and whether missing content is ""
instead of null."""


def text_length(message: Message) -> int:
    """Return the number of characters in a message, including its tool calls."""
    return sum(map(len, _texts(message)))


def _texts(message: Message) -> list[str]:
    """Return every text in a message that its sender wrote."""
    texts = [message.content, message.tool_call_id, message.name]
    for call in message.tool_calls:
        texts += [call.id, call.name, call.arguments]
    return texts


def _with_short_ids(message: Message) -> Message:
    """Return a message whose calls have ids of nine letters and digits, as Mistral requires."""
    if not (message.tool_calls or message.tool_call_id):
        return message
    calls = tuple(replace(call, id=_short(call.id)) for call in message.tool_calls)
    return replace(message, tool_calls=calls, tool_call_id=_short(message.tool_call_id))


def _short(id: str) -> str:
    is_valid = len(id) == 9 and id.isascii() and id.isalnum()
    return id if is_valid or not id else blake2b(id.encode(), digest_size=5).hexdigest()[:9]


def _turn(message: Message, form: tuple[bool, bool]) -> dict[str, Any]:
    as_objects, has_content = form
    turn = message_json(message, as_objects=as_objects)
    if has_content and turn["content"] is None:
        turn["content"] = ""
    return turn


def _checked_json(variables: Mapping[str, object]) -> str:
    """Convert template variables to JSON.

    Raises
    ------
    UnsupportedError
        A variable is reserved or is not JSON data.
    """
    if reserved := sorted(set(RESERVED_VARIABLES) & variables.keys()):
        raise UnsupportedError(
            f"template_variables: {reserved[0]!r} is reserved; Archon sets it", field="thinking"
        )
    try:
        return json.dumps(variables, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UnsupportedError(f"template_variables: {error}", field="thinking") from None


def _unused(variables: Iterable[str], source: str) -> Iterable[str]:
    """Return a note for each variable that the template does not contain."""
    return [
        f"the model has no chat template with the variable {name!r}"
        for name in variables
        if name not in source
    ]


def _with_system_in_user(messages: Sequence[Message]) -> list[Message] | None:
    """Prepend each system message to the next user message, with a blank line in between.

    Return None if there is no system message, or if a system message has no user message after it.
    """
    merged, waiting = list[Message](), list[str]()
    for message in messages:
        if message.role == "system":
            waiting.append(message.content)
        elif message.role == "user":
            merged.append(replace(message, content="\n\n".join([*waiting, message.content])))
            waiting = []
        else:
            merged.append(message)
    return None if waiting or len(merged) == len(messages) else merged


def _omitted(messages: Iterable[Message], text: str) -> Iterable[str]:
    """Return a note if the prompt contains no line of a system message; otherwise return []."""
    for message in messages:
        lines = [line.strip() for line in message.content.splitlines() if line.strip()]
        if message.role == "system" and lines and not any(line in text for line in lines):
            return ["the chat template omits the system message"]
    return []


def _refused(error: TemplateError) -> UnsupportedError:
    return UnsupportedError(f"the chat template rejects these messages: {error}", field="messages")
