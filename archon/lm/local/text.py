"""What a model's files say about text: its tokens, which of them are special, how to chat.

GGUF files and folders say it in different words; ``TextRules`` is what the tokenizer and the chat
format need of either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from archon.engine.config import ModelFile
from archon.engine.files.gguf import GGUFFile

END_NAMES = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "</s>")
"""Special tokens that end a text in one family or another, whatever else the files say."""


@dataclass(frozen=True, slots=True)
class TextRules:
    """How one model writes text as token ids, and wants to be spoken to."""

    path: Path
    """The file or folder that says so: for messages."""
    tokens: tuple[str, ...]
    """Tokens by id: ordinary ones in byte letters, special ones as they are written."""
    bpe: Tokenizer
    """Text → ids of ordinary tokens; knows no special ones."""
    special_ids: Mapping[str, int]
    """Tokens that only a template makes: text → id."""
    control_ids: frozenset[int]
    """The special tokens that are no text."""
    no_text_ids: frozenset[int]
    """Tokens that an ordinary text never holds: the special ones, and those of no use."""
    stop_ids: frozenset[int]
    """Tokens that end a text."""
    bos: str = ""
    """Text of the beginning-of-text token, for templates."""
    eos: str = ""
    begin_ids: tuple[int, ...] = ()
    """Ids before a base model's text."""
    chat_template: str | None = None


def text_rules(file: ModelFile) -> TextRules:
    """Read what an open file or folder says about text.

    Raises
    ------
    ModelFileError : no tokenizer, a damaged one, or a kind that is not supported.
    """
    if isinstance(file, GGUFFile):
        from archon.lm.local.text_gguf import text_rules_of_gguf

        return text_rules_of_gguf(file)
    from archon.lm.local.text_folder import text_rules_of_folder

    return text_rules_of_folder(file)


def lost_merge(
    merges: Iterable[Sequence[str]], vocabulary: Collection[str]
) -> Sequence[str] | None:
    """The first merge that makes no token of the vocabulary, or None.

    The ``tokenizers`` library does not refuse such a merge in every case: on some it panics, and
    then the process may end.
    """
    return next((pair for pair in merges if "".join(pair) not in vocabulary), None)
