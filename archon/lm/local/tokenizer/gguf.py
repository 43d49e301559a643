"""Read ``TokenizerConfig`` from the ``tokenizer.ggml.*`` keys of a GGUF file.

``tokenizer.ggml.model`` names the algorithm:

- ``gpt2``: byte-level BPE. The file has the vocabulary and its merges, but only the name of the
  rule that splits text before merging (``tokenizer.ggml.pre``, see ``pretokenizers``).
- ``gemma4``: the same without byte letters.
- ``llama``: BPE of SentencePiece, with a score for each piece instead of merges.
- ``t5``: unigram of SentencePiece.
- ``bert``: WordPiece.

Old files lack the name of the rule or the types of tokens; both are inferred.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Replace

from archon.engine.files.gguf import GGUFFile
from archon.engine.files.key_rules import KeyRules, shown
from archon.errors import ModelFileError
from archon.lm.local.tokenizer.added_tokens import AddedToken, is_marker
from archon.lm.local.tokenizer.config import (
    TokenizerConfig,
    default_template,
    end_names,
    invalid_merge,
)
from archon.lm.local.tokenizer.pieces import PieceEncoder, encoder_of
from archon.lm.local.tokenizer.pretokenizers import (
    RULES,
    PreTokenizerRule,
    known_names,
    rule_of_architecture,
    rule_of_name,
)
from archon.lm.local.tokenizer.sentencepiece import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    SentencePieces,
    tokenizer_json,
    word_pieces_json,
)
from archon.lm.local.tokenizer.spelling import (
    SPACE,
    byte_token,
    is_byte_token,
    spelled_by_sentencepiece,
    spelled_in_letters,
)
from archon.warn_once import warn_once

_NAMED = {
    "bos_token": "bos", "eos_token": "eos", "eot_token": "eot", "eom_token": "eom",
    "unk_token": "unknown", "sep_token": "seperator", "pad_token": "padding", "cls_token": "cls",
    "mask_token": "mask",
}  # fmt: skip
"""Variable of a chat template → the token's name in GGUF, in its spelling."""
_ENDS = ("eos_token", "eot_token", "eom_token")
_KEEP_SPACES = ("<unk>", "<s>", "<|endoftext|>")
"""Added tokens of Phi-3 that do not include the white space after them."""
_NO_VARIABLES = ("eot_token", "eom_token")
"""Names that chat templates do not know."""
_NO_TEXT = (UNKNOWN, CONTROL, USER_DEFINED, UNUSED)
_TAG = re.compile(r"</?\w[\w-]*>")
"""Pattern of added tokens that are not control tokens, such as ``<think>``."""
_PADDING = re.compile(r"\[PAD\d*\]|<dummy\d+>|<\|reserved_special_token_\d+\|>|<unused_?\d+>")
Merges = Sequence[tuple[str, str]]
_CURE = "Use the model's folder of safetensors, or a server that runs it, such as llama.cpp's"


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The tokens of a file."""

    tokens: Sequence[str]
    ids: Mapping[str, int]
    types: Sequence[int]
    merges: Merges
    merged: Set[str]
    """Results of the merges."""
    named: Mapping[str, int]
    """Variable of a chat template → id."""


@dataclass(frozen=True, slots=True)
class _Algorithm:
    """One value of ``tokenizer.ggml.model``."""

    build: Callable[[_TokenizerKeys, _Vocabulary, Set[str]], tuple[PieceEncoder, bool]]
    """Builds the encoder; the last argument has the tokens that text must not produce. The second
    result is True if a text begins with the beginning-of-text token unless the file states
    otherwise."""
    computed: frozenset[str] = frozenset()
    """Keys that it reads besides the common ones."""
    needs_merges: bool = False
    named: Mapping[str, int] = field(default_factory=dict)
    """Default ids of special tokens."""


_COMMON_KEYS = frozenset({
    "model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id",
    "eot_token_id", "eom_token_id", "eos_token_ids", "add_bos_token", "added_tokens",
})  # fmt: skip
_OTHER_KEYS = {
    "add_sep_token": (), "add_space_prefix": (), "remove_extra_whitespaces": (),
    "precompiled_charsmap": (), "suppress_tokens": (),
}  # fmt: skip
_IRRELEVANT_KEYS = frozenset({
    "scores",  # of tokenizers without merges
    "token_type_count",  # of segments, in encoders
    "chat_template",
    "add_eos_token",  # for training: the model continues its prompts
})  # fmt: skip


def tokenizer_config_of_gguf(file: GGUFFile) -> TokenizerConfig:
    """Read a GGUF file's tokenizer and chat template.

    Raises
    ------
    ModelFileError
        The file has no tokenizer, or its tokenizer is damaged or of an unsupported type.
    """
    keys = _TokenizerKeys(file)
    algorithm = _ALGORITHMS.get(keys.get("model", str))
    if algorithm is None:
        known = ", ".join(_ALGORITHMS)
        raise keys.error(
            f"tokenizer model {keys.get('model', str)!r} is not supported; {known} are. {_CURE}"
        )
    keys.check(algorithm)
    vocabulary = _vocabulary(keys, algorithm)
    tokens, types, named = vocabulary.tokens, vocabulary.types, vocabulary.named
    controls = _controls(keys, vocabulary)
    strips = _strips_spaces(file)
    added = tuple(
        AddedToken(token, i, is_control=i in controls, rstrip=strips and token not in _KEEP_SPACES)
        for i, token in enumerate(tokens)
        if i in controls or types[i] == USER_DEFINED
    )
    hidden = {t.text for t in added if t.is_control or t.text not in vocabulary.merged}
    pieces, adds_bos = algorithm.build(keys, vocabulary, hidden)
    ids = vocabulary.ids
    ends = {ids[name] for name in end_names(ids) if ids[name] in controls}
    return TokenizerConfig(
        path=file.path,
        tokens=tuple(tokens),
        pieces=pieces,
        added_tokens=added,
        no_text_ids=frozenset(i for i, kind in enumerate(types) if kind in _NO_TEXT) | controls,
        stop_ids=frozenset({*ends, *_stated_ends(keys, vocabulary)}),
        template_tokens={n: tokens[i] for n, i in named.items() if n not in _NO_VARIABLES},
        begin_ids=_begin_ids(keys, adds_bos, named),
        chat_template=_chat_template(file),
    )


def _vocabulary(keys: _TokenizerKeys, algorithm: _Algorithm) -> _Vocabulary:
    tokens = [token or f"[EMPTY_{i}]" for i, token in enumerate(keys.strings("tokens"))]
    stated = keys.get("token_type", list) if keys.has("token_type") else None
    ids = {token: i for i, token in enumerate(tokens)}
    if len(ids) != len(tokens) or (stated is not None and len(stated) != len(tokens)):
        raise keys.error(
            "tokenizer.ggml.tokens has duplicates, or token_type has a different number of values"
        )
    merges = _merges(keys) if algorithm.needs_merges else []
    merged = {left + right for left, right in merges}
    if not merged <= ids.keys() and (invalid := invalid_merge(merges, ids)) is not None:
        raise keys.error(f"damaged tokenizer: the merge {invalid!r} yields no known token")
    named = {
        name: token
        for name, key in _NAMED.items()
        if (token := keys.token(f"{key}_token_id", len(tokens), algorithm.named.get(name)))
        is not None
    }
    types = list(_inferred_types(tokens, merged) if stated is None else stated)
    for name in keys.strings("added_tokens") if keys.has("added_tokens") else ():
        if name not in ids:
            raise keys.error(f"added token {name!r} is not in tokenizer.ggml.tokens")
        if types[ids[name]] == NORMAL and name not in merged:
            types[ids[name]] = USER_DEFINED
    return _Vocabulary(tokens, ids, types, merges, merged, named)


def _controls(keys: _TokenizerKeys, vocabulary: _Vocabulary) -> frozenset[int]:
    """Return the ids of control tokens."""
    tokens, types = vocabulary.tokens, vocabulary.types
    controls = {
        i
        for i, kind in enumerate(types)
        if kind in (CONTROL, UNKNOWN) or (kind == USER_DEFINED and is_marker(tokens[i]))
    }
    # A byte or word that also serves as padding, for example, is text.

    def is_word(i: int) -> bool:
        if vocabulary.merges:
            return tokens[i] in vocabulary.merged
        return types[i] in (NORMAL, BYTE) and not is_marker(tokens[i])

    named = {*vocabulary.named.values(), *(vocabulary.ids[n] for n in end_names(vocabulary.ids))}
    controls |= {i for i in named if not is_word(i)}
    return frozenset(i for i in controls if len(tokens[i]) > 1)


def _stated_ends(keys: _TokenizerKeys, vocabulary: _Vocabulary) -> Iterator[int]:
    """Yield the tokens that end a text according to the file."""
    yield from (vocabulary.named[name] for name in _ENDS if name in vocabulary.named)
    for i in keys.get("eos_token_ids", list) if keys.has("eos_token_ids") else ():
        if not isinstance(i, int) or not 0 <= i < len(vocabulary.tokens):
            raise keys.error(
                f"tokenizer.ggml.eos_token_ids contains {i!r}, which is not a valid id"
            )
        yield i


def _strips_spaces(file: GGUFFile) -> bool:
    """Return True if added tokens include the white space after them.

    GGUF files have no such flag. As in llama.cpp, it follows from the model's name or family:
    Phi-3 was trained so. Phi-4 has the same family, but another kind of vocabulary.
    """
    name = str(file.metadata.get("general.name", "")).lower()
    is_sentence_pieces = file.metadata.get("tokenizer.ggml.model") == "llama"
    is_family = file.metadata.get("general.architecture") == "phi3"
    return is_sentence_pieces and (is_family or "phi-3" in name or "phi3" in name)


def _begin_ids(keys: _TokenizerKeys, usual: bool, named: Mapping[str, int]) -> tuple[int, ...]:
    """Return the token at the beginning of a text; ``usual`` is True if there is one by default."""
    adds_bos = keys.boolean("add_bos_token", usual)
    if adds_bos and "bos_token" not in named and keys.has("add_bos_token"):
        raise keys.error(
            "tokenizer.ggml.add_bos_token is true, but bos_token_id is not a token's id"
        )
    return (named["bos_token"],) if adds_bos and "bos_token" in named else ()


def _chat_template(file: GGUFFile) -> str | None:
    """Return the file's default chat template, or None if the file has no templates.

    The key of a named template is ``tokenizer.chat_template.NAME``.
    """
    key = "tokenizer.chat_template"
    named = {
        name.removeprefix(f"{key}."): value
        for name, value in file.metadata.items()
        if name.startswith(f"{key}.")
    }
    if key in file.metadata:
        named["default"] = file.metadata[key]
    return default_template(named, str(file.path))


def _merges(keys: _TokenizerKeys) -> Merges:
    pairs = (merge.partition(" ") for merge in keys.strings("merges"))
    return [(left, right) for left, _, right in pairs]


def _inferred_types(tokens: Sequence[str], merged: Set[str]) -> list[int]:
    """Infer the types of tokens where the file lacks them.

    Single letters and merge results are ordinary tokens. Other tokens are classified by their
    spelling: padding is unused, markers are control tokens, and tags are added tokens.
    """

    def type_of(token: str) -> int:
        if len(token) == 1 or token in merged:
            return NORMAL
        if is_byte_token(token):
            return BYTE
        if _PADDING.fullmatch(token):
            return UNUSED
        if is_marker(token):
            return CONTROL
        return USER_DEFINED if _TAG.fullmatch(token) and merged else NORMAL

    return [type_of(token) for token in tokens]


# ------------------------------------------------------------------------------- algorithms


def _byte_pairs(
    keys: _TokenizerKeys, vocabulary: _Vocabulary, hidden: Set[str]
) -> tuple[PieceEncoder, bool]:
    """Build an encoder by merges."""
    rule = _pre_tokenizer_rule(keys, vocabulary.ids)
    words = {token: i for token, i in vocabulary.ids.items() if token not in hidden}
    merges = vocabulary.merges
    if not vocabulary.merged <= words.keys():
        merges = [(left, right) for left, right in merges if left + right in words]
    options: dict[str, Any] = {"ignore_merges": rule.whole_pieces}
    if not rule.uses_letters and byte_token(0) in words:
        options |= {"byte_fallback": True}
    try:
        tokenizer = Tokenizer(BPE(vocab=words, merges=merges, **options))
    except Exception as error:  # the library has no narrower type
        raise keys.error(f"damaged tokenizer: {error}") from None
    if not rule.uses_letters:
        tokenizer.normalizer = Replace(" ", SPACE)
    elif rule.normalizer is not None:
        tokenizer.normalizer = rule.normalizer()
    tokenizer.pre_tokenizer = rule.pieces()
    spelling = spelled_in_letters if rule.uses_letters else spelled_by_sentencepiece
    return PieceEncoder(tokenizer, spelling), rule.adds_bos


def _pre_tokenizer_rule(keys: _TokenizerKeys, vocabulary: Collection[str]) -> PreTokenizerRule:
    """Return the pre-tokenizer that the file names, or that of its family if it names none."""
    name = keys.get("pre", str) if keys.has("pre") else "default"
    name = "gemma4" if keys.get("model", str) == "gemma4" else name
    rule = rule_of_name(name)
    if rule is None:
        known = ", ".join(known_names())
        raise keys.error(f"pre-tokenizer {name!r} is not supported; {known} are. {_CURE}")
    if name != "default":
        return rule
    family = str(keys.architecture)
    found = rule_of_architecture(family)
    if found is None and all(
        name in vocabulary for name in ("<|begin_of_text|>", "<|end_of_text|>")
    ):
        found = "llama-bpe"
    if found is None:
        warn_once(
            f"{keys.path}: tokenizer.ggml.pre does not name the rule that splits text, and "
            f"models of the family {family!r} have different ones. Archon uses llama.cpp's "
            "default rule, so that answers may be worse than they should be. Convert the model "
            "again with a newer llama.cpp"
        )
        return rule
    warn_once(
        f"{keys.path}: tokenizer.ggml.pre does not name the rule that splits text; Archon uses "
        f"{found!r}, the rule of most models of its family"
    )
    return RULES[found]


def _sentence_pieces(
    keys: _TokenizerKeys, vocabulary: _Vocabulary, hidden: Set[str]
) -> tuple[PieceEncoder, bool]:
    """Build an encoder by scores."""
    is_bpe = keys.get("model", str) == "llama"
    scores: list[Any] = keys.get("scores", list)
    tokens, types = vocabulary.tokens, vocabulary.types
    if len(scores) != len(tokens) or not all(isinstance(score, int | float) for score in scores):
        raise keys.error("tokenizer.ggml.scores does not have a number for each token")
    unknown = vocabulary.named.get("unk_token", next((i for i, t in enumerate(types) if t == 2), 0))
    characters = keys.get("precompiled_charsmap", list) if keys.has("precompiled_charsmap") else []
    pieces = SentencePieces(
        kind="bpe" if is_bpe else "unigram",
        pieces=tokens,
        scores=[float(score) for score in scores],
        types=types,
        unknown_id=unknown,
        adds_space=keys.boolean("add_space_prefix", is_bpe),
        removes_spaces=keys.boolean("remove_extra_whitespaces", False),
        character_map=bytes(number & 0xFF for number in characters),
    )
    return _encoder(keys, tokenizer_json(pieces), hidden), is_bpe


def _word_pieces(
    keys: _TokenizerKeys, vocabulary: _Vocabulary, hidden: Set[str]
) -> tuple[PieceEncoder, bool]:
    """Build an encoder of words and their parts.

    GGUF files write "▁the" and "ing" for "the" and "##ing".
    """

    def original(i: int, token: str) -> str:
        if vocabulary.types[i] != NORMAL or token in hidden:
            return token
        return token.removeprefix(SPACE) if token.startswith(SPACE) else f"##{token}"

    tokens = [original(i, token) for i, token in enumerate(vocabulary.tokens)]
    lowercase = keys.boolean("normalizer.lowercase", True)
    stated = word_pieces_json(
        tokens,
        vocabulary.tokens[vocabulary.named.get("unk_token", 0)],
        lowercase=lowercase,
        strip_accents=keys.boolean("normalizer.strip_accents", lowercase),
    )
    encoder = _encoder(keys, stated, hidden)
    return replace(encoder, spelling=spelled_by_sentencepiece), True


def _encoder(keys: _TokenizerKeys, stated: Mapping[str, Any], hidden: Set[str]) -> PieceEncoder:
    try:
        return encoder_of(stated, hidden)
    except ValueError as error:
        raise keys.error(f"damaged tokenizer: {error}") from None


_SENTENCE_PIECE_KEYS = frozenset({
    "scores", "add_space_prefix", "remove_extra_whitespaces", "precompiled_charsmap",
})  # fmt: skip
_ALGORITHMS = {
    "gpt2": _Algorithm(_byte_pairs, needs_merges=True),
    "gemma4": _Algorithm(_byte_pairs, needs_merges=True),
    "llama": _Algorithm(
        _sentence_pieces,
        _SENTENCE_PIECE_KEYS,
        named={"bos_token": 1, "eos_token": 2, "unk_token": 0},
    ),
    "t5": _Algorithm(
        _sentence_pieces,
        _SENTENCE_PIECE_KEYS,
        named={"eos_token": 1, "unk_token": 2, "pad_token": 0},
    ),
    "bert": _Algorithm(
        _word_pieces,
        frozenset({"normalizer.lowercase", "normalizer.strip_accents", "add_sep_token"}),
        named={
            "bos_token": 101, "unk_token": 100, "sep_token": 102, "pad_token": 0,
            "mask_token": 103,
        },
    ),
}  # fmt: skip
"""Values of ``tokenizer.ggml.model``."""
_PREFIX = "tokenizer.ggml."


class _TokenizerKeys:
    """Reads a file's ``tokenizer.ggml.*`` keys and checks the type of each value."""

    def __init__(self, file: GGUFFile) -> None:
        self._file = file
        self.path = file.path

    @property
    def architecture(self) -> object:
        return self._file.metadata.get("general.architecture")

    def check(self, algorithm: _Algorithm) -> None:
        """Refuse keys that change the encoding in unsupported ways."""
        keys = self._file.metadata.items()
        named = {k.removeprefix(_PREFIX): v for k, v in keys if k.startswith(_PREFIX)}
        KeyRules(
            computed=_COMMON_KEYS | algorithm.computed,
            irrelevant=_IRRELEVANT_KEYS,
            neutral=_OTHER_KEYS,
            irrelevant_names=re.compile(r".*_token_ids?"),  # for uses that Archon does not have
        ).check(named, self.path, _PREFIX)

    def has(self, name: str) -> bool:
        return _PREFIX + name in self._file.metadata

    def boolean(self, name: str, usual: bool) -> bool:
        value = self._file.metadata.get(_PREFIX + name, usual)
        if not isinstance(value, bool):
            raise self.error(f"{_PREFIX}{name} must be true or false, not {value!r}")
        return value

    def get(self, name: str, kind: type) -> Any:
        value = self._file.metadata.get(_PREFIX + name)
        if value is None:
            raise self.error(f"{_PREFIX}{name} is missing")
        if not isinstance(value, kind):
            expected = {str: "a string", list: "a list", int: "an integer"}[kind]
            raise self.error(f"{_PREFIX}{name} must be {expected}, not {shown(value)}")
        return value

    def strings(self, name: str) -> list[str]:
        values: list[str] = self.get(name, list)
        if not all(isinstance(value, str) for value in values):
            raise self.error(f"{_PREFIX}{name} must contain only strings")
        return values

    def token(self, name: str, num_tokens: int, usual: int | None) -> int | None:
        """Return a token's id; ``usual`` if the file has none, or one that is out of range."""
        value = self._file.metadata.get(_PREFIX + name)
        found = value if isinstance(value, int) and 0 <= value < num_tokens else usual
        return found if found is not None and found < num_tokens else None

    def error(self, reason: str) -> ModelFileError:
        return ModelFileError(f"{self.path}: {reason}")
