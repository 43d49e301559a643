"""Data for supervised training: texts as token ids, in which only completions are learned."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon.errors import LMError, SpecError
from archon.lm.local.chat import ChatFormat
from archon.lm.local.tokenizer import TextTokenizer
from archon.spec.encoding import without_marks
from archon.spec.json_lines import read_rows
from archon.spec.messages import shown
from archon.spec.training import Data, JsonlData
from archon.train.synthetic.sums import chain_sums, plain_sums
from archon.types import Message

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation and the completion to learn."""

    messages: tuple[Message, ...]
    completion: str
    place: str
    """File and line, for error messages."""

    @property
    def opening(self) -> tuple[Message, ...]:
        """Messages up to the user's first message, which all dialogues of a conversation share."""
        roles = [message.role for message in self.messages]
        return self.messages[: roles.index("user") + 1] if "user" in roles else self.messages


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids of one text, with the number of leading tokens that are not learned."""

    token_ids: tuple[int, ...]
    num_given: int
    """Number of leading tokens that are read but not learned."""
    num_shown: int
    """Number of leading tokens that a greedy sample continues."""
    question: Hashable = None
    """Key of the question. Texts with the same question are either all learned from or all held
    out."""

    @property
    def reply_ids(self) -> tuple[int, ...]:
        """The tokens that are learned."""
        return self.token_ids[self.num_given :]


def dialogues(data: Data, base_dir: Path, *, allow_prompts: bool = False) -> Iterator[Dialogue]:
    """Yield the dialogues of a file or a rule.

    For a line with ``messages``, one dialogue is yielded per assistant message. It contains all
    messages before that message.

    Parameters
    ----------
    allow_prompts
        Whether to accept lines that have only a prompt; their completion is empty.

    Raises
    ------
    SpecError
        A file is missing, or a line is malformed.
    """
    if not isinstance(data, JsonlData):
        if data.rule != "chain-sums":
            raise SpecError(
                f"the {data.rule!r} rule has no questions and answers; choose 'chain-sums'",
                path="$.data.rule",
            )
        for question, answer in chain_sums(data.items, data.seed):
            yield Dialogue((Message("user", question),), answer, f"rule {data.rule}")
        return
    for number, row in read_rows(base_dir / data.path):
        place = f"{data.path}:{number}"
        if row.keys() == {"prompt", "completion"} or (allow_prompts and row.keys() == {"prompt"}):
            prompt, completion = read_text(row["prompt"], place, "prompt"), ""
            if "completion" in row:
                completion = read_text(row["completion"], place, "completion")
            yield Dialogue((Message("user", prompt),), completion, place)
        elif row.keys() == {"messages"}:
            yield from _turns(row["messages"], place)
        else:
            keys = ", ".join(sorted(row))
            wanted = "'prompt' (and optionally " if allow_prompts else "either 'prompt' and "
            wanted += "'completion')" if allow_prompts else "'completion'"
            reason = f"a line must have {wanted}, or 'messages'; found: {keys}"
            raise SpecError(reason, file=place)


def plain_texts(data: Data, base_dir: Path) -> Iterator[str]:
    """Yield the texts for pretraining.

    Raises
    ------
    SpecError
        A file is missing, or a line is not ``{"text": …}``.
    """
    if not isinstance(data, JsonlData):
        if data.rule != "sums":
            raise SpecError(
                f"the {data.rule!r} rule has no plain texts; choose 'sums'", path="$.data.rule"
            )
        yield from plain_sums(data.items, data.seed)
        return
    for number, row in read_rows(base_dir / data.path):
        yield read_text(row.get("text"), f"{data.path}:{number}", "text")


def tokenize_dialogue(
    dialogue: Dialogue,
    chat: ChatFormat,
    tokenizer: TextTokenizer,
    end: int,
    variables: Mapping[str, object] | None = None,
) -> Text:
    """Return a dialogue's tokens: the prompt as the engine reads it, the completion, the end token.

    Parameters
    ----------
    end
        Token that ends a reply.
    variables
        Variables of the chat template.

    Raises
    ------
    SpecError
        The model's chat template rejects the messages.
    """
    try:
        given = chat.encode(dialogue.messages, variables)
    except LMError as error:
        raise SpecError(str(error), file=dialogue.place) from None
    token_ids = (*given, *tokenizer.encode_continuation(dialogue.completion), end)
    return Text(token_ids, len(given), len(given), dialogue.opening)


def tokenize_plain_text(text: str, tokenizer: TextTokenizer, end: int) -> Text:
    """Return the tokens of a plain text; all except the first one are learned.

    A greedy sample continues the text after its last colon, because an answer may follow the colon.
    If there is no colon, the sample continues the text from the middle.
    """
    token_ids = tokenizer.encode(text)
    num_shown = len(tokenizer.encode(text[: text.rindex(":") + 1])) if ":" in text else 0
    return Text((*token_ids, end), 1, num_shown or (len(token_ids) + 1) // 2, text)


def _turns(messages: Any, place: str) -> Iterator[Dialogue]:
    before: list[Message] = []
    for index, message in enumerate(read_messages(messages, place)):
        if message.role == "assistant":
            if not before:
                path = f"$.messages[{index}]"
                reason = "the first message must not be from the assistant"
                raise SpecError(reason, file=place, path=path)
            yield Dialogue(tuple(before), message.content, place)
        before.append(message)
    if not any(message.role == "assistant" for message in before):
        raise SpecError(
            "must contain at least one message with the role 'assistant'",
            file=place,
            path="$.messages",
        )


def read_messages(messages: Any, place: str) -> tuple[Message, ...]:
    """Convert the value of a line's ``messages`` key.

    Raises
    ------
    SpecError
        The value is empty, or is not a list of objects with a role and content.
    """
    if not isinstance(messages, list) or not messages:
        reason = "must not be empty" if messages == [] else f"must be a list, not {shown(messages)}"
        raise SpecError(reason, file=place, path="$.messages")
    found: list[Message] = []
    for index, message in enumerate(messages):
        path = f"$.messages[{index}]"
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            reason = f"must be an object with 'role' and 'content', not {shown(message)}"
            raise SpecError(reason, file=place, path=path)
        content = read_text(message["content"], place, f"{path[2:]}.content")
        role = message["role"]
        if role not in _ROLES:
            *first, last = map(repr, _ROLES)
            reason = f"must be {', '.join(first)} or {last}, not {shown(role)}"
            raise SpecError(reason, file=place, path=f"{path}.role")
        found.append(Message(role, content))
    return tuple(found)


def read_text(value: Any, place: str, key: str) -> str:
    """Return a string from a line, without byte order marks.

    Raises
    ------
    SpecError
        The value is not a string, or is blank.
    """
    text = without_marks(value) if isinstance(value, str) else ""
    if not text.strip():
        is_text = isinstance(value, str)
        reason = "must not be blank" if is_text else f"must be a string, not {shown(value)}"
        raise SpecError(reason, file=place, path=f"$.{key}")
    return text
