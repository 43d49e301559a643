"""``TokenizerConfig``: one model's tokenizer, special tokens and chat template.

``gguf`` reads it from a GGUF file, and ``folder`` from a model folder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archon.errors import ModelFileError
from archon.lm.local.tokenizer.added_tokens import AddedToken
from archon.lm.local.tokenizer.pieces import PieceEncoder

END_NAMES = (
    "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "</s>",
    "<|end|>", "<end_of_turn>", "<turn|>", "<end_of_utterance>", "<EOT>", "[EOT]", "[EOS]",
    "<｜end▁of▁sentence｜>", "<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "[e~[",
)  # fmt: skip
"""Special tokens that end a text in some family, regardless of what else the files state.

Source: llama.cpp's list, without the tokens of code completion.
"""
_NOT_ENDS = (
    (frozenset({"<|return|>", "<|call|>"}), "<|end|>"),
    (frozenset({"<|flush|>", "<|calls|>"}), "<|end|>"),
    (frozenset({"<|tool_response>"}), "</s>"),
)
"""Families whose vocabulary has the first tokens do not end a text at the second one."""


def end_names(vocabulary: Collection[str]) -> set[str]:
    """Return the names of a vocabulary's tokens that end a text in its family."""
    names = {name for name in END_NAMES if name in vocabulary}
    return names - {end for signs, end in _NOT_ENDS if all(sign in vocabulary for sign in signs)}


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """One model's tokenizer, special tokens and chat template."""

    path: Path
    """Path of the model file or folder, for error messages."""
    tokens: tuple[str, ...]
    """Tokens by id, as the vocabulary spells them (``spelling``); added ones are plain text."""
    pieces: PieceEncoder
    """Encoder of ordinary text, without added tokens."""
    added_tokens: tuple[AddedToken, ...]
    """Tokens that are found in a text before ``pieces`` encodes the rest."""
    no_text_ids: frozenset[int]
    """Ids of tokens that ordinary text never contains: added and unused tokens."""
    stop_ids: frozenset[int]
    """Ids of tokens that end a text."""
    template_tokens: Mapping[str, str] = field(default_factory=dict)
    """Chat-template variable (such as ``bos_token``) → text of the model's special token.
    """
    begin_ids: tuple[int, ...] = ()
    """Token ids that precede every prompt of a base model."""
    chat_template: str | None = None

    @property
    def special_ids(self) -> dict[str, int]:
        """Ids of the added tokens, by their text."""
        return {token.text: token.id for token in self.added_tokens}

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids of the control tokens."""
        return frozenset(token.id for token in self.added_tokens if token.is_control)

    @property
    def eos(self) -> str:
        """Text of the end-of-text token; empty if the model has none."""
        return self.template_tokens.get("eos_token", "")


def default_template(named: Mapping[str, object], where: str) -> str | None:
    """Return the ``default`` chat template, or None if the model has no templates.

    Raises
    ------
    ModelFileError
        No template is named ``default``, or the default template is not a string.
    """
    if not named:
        return None
    if "default" not in named:
        names = ", ".join(sorted(map(str, named)))
        raise ModelFileError(f"{where}: none of the chat templates ({names}) is named 'default'")
    template = named["default"]
    if not isinstance(template, str):
        raise ModelFileError(f"{where}: chat_template must be a string")
    return template


def invalid_merge(
    merges: Iterable[Sequence[str]], vocabulary: Collection[str]
) -> Sequence[str] | None:
    """Return the first merge whose result is not in the vocabulary, or None if all are valid.

    An invalid merge can cause the ``tokenizers`` library to panic, which ends the process.
    """
    return next((pair for pair in merges if "".join(pair) not in vocabulary), None)
