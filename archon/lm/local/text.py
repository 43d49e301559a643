"""What a model's files say about text: its tokens, which of them are special, how to chat.

GGUF files and folders say it in different words; ``TextRules`` is what the tokenizer and the chat
format need of either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from archon.engine.files.gguf import GGUFFile
from archon.engine.model.config import ModelFile
from archon.errors import ModelFileError
from archon.lm.local.added_tokens import AddedToken

END_NAMES = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "</s>")
"""Special tokens that end a text in one family or another, whatever else the files say."""


@dataclass(frozen=True, slots=True)
class TextRules:
    """How one model writes text as token ids, and wants to be spoken to."""

    path: Path
    """The file or folder that says so: for messages."""
    tokens: tuple[str, ...]
    """Tokens by id: ordinary ones in byte letters, added ones as they are written."""
    bpe: Tokenizer
    """Text → ids of ordinary tokens; knows no added ones."""
    added_tokens: tuple[AddedToken, ...]
    """Tokens that are looked for in a text before ``bpe`` reads the rest."""
    no_text_ids: frozenset[int]
    """Tokens that an ordinary text never holds: the added ones, and those of no use."""
    stop_ids: frozenset[int]
    """Tokens that end a text."""
    template_tokens: Mapping[str, str] = field(default_factory=dict)
    """Variables of the chat template: ``bos_token`` and the like → the token's text. A token that
    the model lacks is not among them."""
    begin_ids: tuple[int, ...] = ()
    """Ids before a base model's text."""
    chat_template: str | None = None

    @property
    def special_ids(self) -> dict[str, int]:
        """Added tokens: text → id."""
        return {token.text: token.id for token in self.added_tokens}

    @property
    def control_ids(self) -> frozenset[int]:
        """The added tokens that are no text, which only a template makes."""
        return frozenset(token.id for token in self.added_tokens if token.is_control)

    @property
    def bos(self) -> str:
        """Text of the token that begins a text; "" for none."""
        return self.template_tokens.get("bos_token", "")

    @property
    def eos(self) -> str:
        """Text of the token that ends a text; "" for none."""
        return self.template_tokens.get("eos_token", "")


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


def default_template(named: Mapping[str, object], where: str) -> str | None:
    """The chat template among those that a model's files give by name; None where there is none.

    Raises
    ------
    ModelFileError : it is no text, or there are several and none is the default one.
    """
    if not named:
        return None
    if "default" not in named:
        names = ", ".join(sorted(map(str, named)))
        raise ModelFileError(f"{where}: none of the chat templates ({names}) is named 'default'")
    template = named["default"]
    if not isinstance(template, str):
        raise ModelFileError(f"{where}: chat_template is no text")
    return template


def lost_merge(
    merges: Iterable[Sequence[str]], vocabulary: Collection[str]
) -> Sequence[str] | None:
    """The first merge that makes no token of the vocabulary, or None.

    The ``tokenizers`` library does not refuse such a merge in every case: on some it panics, and
    then the process may end.
    """
    return next((pair for pair in merges if "".join(pair) not in vocabulary), None)
