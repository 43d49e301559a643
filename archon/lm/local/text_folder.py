"""``TextRules`` of a model folder, from ``tokenizer.json`` and the files beside it.

``tokenizer.json`` says how text is cut and merged, and lists the *added* tokens, which the
``tokenizers`` library would find wherever their names are written. Content must not be able to
make them, so the tokenizer is built without them, and they are special tokens here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from tokenizers import Tokenizer

from archon.engine.files.folder import CONFIG, ModelFolder
from archon.errors import ModelFileError
from archon.lm.local.generation_config import report_not_applied
from archon.lm.local.text import END_NAMES, TextRules, lost_merge

_TOKENIZER, _TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
_GENERATION_CONFIG, _TEMPLATE = "generation_config.json", "chat_template.jinja"


def text_rules_of_folder(folder: ModelFolder) -> TextRules:
    """Read a folder's tokenizer, chat template and end tokens.

    Raises
    ------
    ModelFileError : no tokenizer in the folder, a damaged one, or a kind that is not supported.
    """
    stated = folder.json(_TOKENIZER)
    if stated is None:
        raise ModelFileError(f"{folder.path}: the folder has no {_TOKENIZER}")
    config = folder.json(_TOKENIZER_CONFIG) or {}
    added = _added_tokens(folder, stated)
    special = {str(token["content"]): int(token["id"]) for token in added}
    bpe, vocabulary = _without_added_tokens(folder, stated, special)
    eos = _token_text(config.get("eos_token"))
    ends = {special[name] for name in (*END_NAMES, eos) if name in special}
    begin = _first_special(stated.get("post_processor"))
    return TextRules(
        path=folder.path,
        tokens=_by_id(vocabulary | special),
        bpe=bpe,
        special_ids=special,
        no_text_ids=frozenset(special.values()),
        control_ids=frozenset(int(token["id"]) for token in added if token.get("special")),
        stop_ids=frozenset({*ends, *_end_ids(folder)}),
        bos=_token_text(config.get("bos_token")),
        eos=eos,
        begin_ids=(special[begin],) if begin in special else (),
        chat_template=_chat_template(folder, config),
    )


def _added_tokens(folder: ModelFolder, stated: Mapping[str, Any]) -> list[dict[str, Any]]:
    added = stated.get("added_tokens") or []
    if not isinstance(added, list):
        added = [added]
    for token in added:
        known = isinstance(token, dict) and isinstance(token.get("content"), str)
        if not known or not _is_id(token.get("id")):
            raise _error(folder, f"added token {token!r} has no id or no text")
        if any(token.get(key) for key in ("lstrip", "rstrip", "single_word")):
            raise _error(folder, f"added token {token['content']!r} looks at its neighbours, "
                         "which is not supported")  # fmt: skip
    return added


def _without_added_tokens(
    folder: ModelFolder, stated: Mapping[str, Any], special: Mapping[str, int]
) -> tuple[Tokenizer, dict[str, int]]:
    """The tokenizer of ordinary text, and its vocabulary."""
    model = stated.get("model")
    kind = model.get("type", "BPE") if isinstance(model, dict) else None
    if not isinstance(model, dict) or kind != "BPE" or model.get("byte_fallback"):
        raise _error(folder, f"tokenizer model {kind!r} is not supported (byte-level BPE is)")
    if not isinstance(model.get("merges"), list | None):
        raise _error(folder, "merges is no list")
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise _error(folder, "the tokenizer marks parts of words, which is not supported")
    if '"ByteLevel"' not in json.dumps(stated.get("pre_tokenizer")):
        raise _error(folder, "the tokenizer does not work on bytes, which is not supported")
    words = model.get("vocab")
    if not isinstance(words, dict) or not all(_is_id(i) for i in words.values()):
        raise _error(folder, "vocab is missing or does not map tokens to ids")
    vocabulary = {token: i for token, i in words.items() if token not in special}
    merges = [m.split(" ") if isinstance(m, str) else m for m in model.get("merges") or ()]
    if not all(_is_pair(merge) for merge in merges):
        raise _error(folder, "merges holds something else than pairs of tokens")
    if (lost := lost_merge(merges, vocabulary)) is not None:
        raise _error(folder, f"damaged tokenizer: the merge {lost!r} makes no token")
    plain = {
        "version": stated.get("version", "1.0"),
        "normalizer": stated.get("normalizer"),
        "pre_tokenizer": stated.get("pre_tokenizer"),
        "added_tokens": [],
        "model": model | {"vocab": vocabulary, "unk_token": None},
    }
    try:
        return Tokenizer.from_str(json.dumps(plain)), vocabulary
    except Exception as error:  # the library raises nothing narrower
        raise _error(folder, f"damaged tokenizer: {error}") from None


def _by_id(ids: Mapping[str, int]) -> tuple[str, ...]:
    """Tokens in the order of their ids; an id that stands for nothing has no text."""
    tokens = [""] * (max(ids.values(), default=-1) + 1)
    for token, i in ids.items():
        tokens[i] = token
    return tuple(tokens)


def _end_ids(folder: ModelFolder) -> Iterator[int]:
    """What the generation's configuration, else the model's, says ends a text: one id or more."""
    generation = folder.json(_GENERATION_CONFIG) or {}
    report_not_applied(folder.path / _GENERATION_CONFIG, generation)
    name = _GENERATION_CONFIG if generation.get("eos_token_id") is not None else CONFIG
    value = (generation if name == _GENERATION_CONFIG else folder.config).get("eos_token_id")
    for token in value if isinstance(value, list) else [value]:
        if _is_id(token):
            yield token
        elif token is not None:
            raise ModelFileError(f"{folder.path / name}: eos_token_id is {value!r}, no token's id")


def _chat_template(folder: ModelFolder, config: Mapping[str, Any]) -> str | None:
    """The file of its own, else the key, which may hold several by name."""
    template: object = folder.text(_TEMPLATE) or config.get("chat_template")
    if isinstance(template, list):
        named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
        template = named.get("default")
    if template is not None and not isinstance(template, str):
        raise ModelFileError(f"{folder.path / _TOKENIZER_CONFIG}: chat_template is no text")
    return template


def _first_special(post_processor: object) -> str:
    """The token that the tokenizer puts before a text ("" for none): the first of its template."""
    if not isinstance(post_processor, dict):
        return ""
    for part in post_processor.get("processors") or []:
        if first := _first_special(part):
            return first
    template = post_processor.get("single") or [{}]
    token = template[0].get("SpecialToken") if isinstance(template[0], dict) else None
    return str(token.get("id", "")) if isinstance(token, dict) else ""


def _token_text(value: object) -> str:
    """A special token as tokenizer_config.json names it: its text, or an object that holds it."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _is_pair(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value)


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 24


def _error(folder: ModelFolder, reason: str) -> ModelFileError:
    return ModelFileError(f"{folder.path / _TOKENIZER}: {reason}")
