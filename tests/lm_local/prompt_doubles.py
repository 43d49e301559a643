"""Conversations, and pairs of Archon's prompt format and that of transformers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chat_styles import write_text_files
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from archon.lm.local.chat import ChatFormat
from archon.lm.local.tokenizer import TextTokenizer
from archon.lm.local.tokenizer.folder import tokenizer_config_of_folder
from archon.types import Message

CONVERSATIONS = {
    "user": (("user", "What is 2 + 3?"),),
    "system": (("system", "Be brief."), ("user", "Is 12 < 13?")),
    "white space": (("system", "\n\tBe brief. \n"), ("user", "  two\n\nlines \n")),
    "marks": (("user", "a & b <b> 'one' \"two\" \\ \u2028 é 数学 🧮 | > [x] / {{ y }} {% z %}"),),
    "turns": (("user", "one"), ("assistant", " two "), ("user", "three")),
    "thoughts": (
        ("system", "Think."),
        ("user", "one"),
        ("assistant", "<think>\nmuch\nthought\n</think>\n\ntwo"),
        ("user", "three"),
        ("assistant", "more </think> thought </think>\nfour"),
        ("user", "five </think> six <think>"),
    ),
    "after the question": (
        ("user", "one"),
        ("assistant", "<think>now</think>two"),
        ("user", "<tool_response>3</tool_response>"),
    ),
    "last is the assistant": (("user", "one"), ("assistant", "<think>\nnow\n</think>\ntwo")),
    "no thought": (("system", "Be brief. /no_think"), ("user", "one /think")),
    "thought": (("system", "/think"), ("user", "one")),
    "empty": (("system", ""), ("user", "")),
    "twice": (("user", "one"), ("user", "two")),
    "assistant first": (("assistant", "Hello."), ("user", "one")),
    "system later": (("user", "one"), ("assistant", "two"), ("system", "s"), ("user", "three")),
    "only system": (("system", "one"),),
}
VARIABLES: tuple[dict[str, Any], ...] = (
    {},
    {"enable_thinking": False},
    {"enable_thinking": True},
    {"date_string": "1 May 2031"},
)


@dataclass(frozen=True)
class Pair:
    """Our way from messages to a prompt, and that of transformers."""

    ours: ChatFormat
    theirs: PreTrainedTokenizerFast
    template: str

    def expected_text(self, messages: tuple[Message, ...], **variables: Any) -> str:
        texts: Any = render_jinja_template(
            conversations=[turns(messages)],
            chat_template=self.template,
            add_generation_prompt=True,
            **{**self.theirs.special_tokens_map, **variables},
        )
        return str(texts[0][0])

    def expected_ids(self, messages: tuple[Message, ...], **variables: Any) -> list[int]:
        ids: Any = self.theirs.apply_chat_template(
            turns(messages),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
            **variables,
        )
        return list(ids)


def turns(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]


def conversation(name: str) -> tuple[Message, ...]:
    return tuple(Message(*turn) for turn in CONVERSATIONS[name])  # type: ignore[arg-type]


def open_pair(folder: Path, template: str) -> Pair:
    from archon.engine.files.folder import ModelFolder

    class TextFolder(ModelFolder):
        """A folder that is read for its text alone."""

        def _shards(self) -> dict[str, set[str]]:
            return {}

    rules = tokenizer_config_of_folder(TextFolder(folder))
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    return Pair(ChatFormat(rules, TextTokenizer(rules)), theirs, template)


@cache
def pair(template: str, special_words: tuple[str, ...] = ()) -> Pair:
    with TemporaryDirectory() as folder:
        return open_pair(write_text_files(Path(folder), template, special_words), template)
