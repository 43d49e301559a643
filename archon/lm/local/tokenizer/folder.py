"""Read ``TokenizerConfig`` from ``tokenizer.json`` and related files in a model folder.

``tokenizer.json`` defines how text is split and merged, and lists the *added* tokens. The
``tokenizers`` library would match them anywhere in a text, but the content of a message must not
produce control tokens. The tokenizer is therefore built without added tokens, and
``added_tokens`` matches them. A folder may have ``tokenizer.model`` instead, a vocabulary of
SentencePiece, or Mistral's ``tekken.json``, which are read in the same form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from archon.engine.files.folder import CONFIG, ModelFolder
from archon.errors import ModelFileError
from archon.lm.local.generation_config import report_not_applied
from archon.lm.local.tokenizer.added_tokens import AddedToken, is_marker
from archon.lm.local.tokenizer.config import (
    TokenizerConfig,
    default_template,
    end_names,
    invalid_merge,
)
from archon.lm.local.tokenizer.pieces import PieceEncoder, encoder_of, vocabulary_of
from archon.lm.local.tokenizer.ranks import BEGIN, END, tekken_json
from archon.lm.local.tokenizer.sentencepiece import (
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    tokenizer_json,
)
from archon.lm.local.tokenizer.sentencepiece_file import read_sentencepiece_file
from archon.lm.local.tokenizer.spelling import SPACE
from archon.warn_once import warn_once

_TOKENIZER, _TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
_TEKKEN, _RANKED = "tekken.json", ("*.tiktoken", "tiktoken.model")
_SENTENCE_PIECES, _ADDED_TOKENS = "tokenizer.model", "added_tokens.json"
_MODELS = ("BPE", "Unigram", "WordPiece", "WordLevel")
_SPECIAL_TOKENS, _GENERATION_CONFIG = "special_tokens_map.json", "generation_config.json"
_TEMPLATES = ("chat_template.jinja", "additional_chat_templates/default.jinja")
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
_MORE_TOKENS = ("additional_special_tokens", "extra_special_tokens")


def tokenizer_config_of_folder(folder: ModelFolder) -> TokenizerConfig:
    """Read a folder's tokenizer, chat template and end tokens.

    Raises
    ------
    ModelFileError
        The folder has no tokenizer, or its tokenizer is damaged or of an unsupported type.
    """
    config = _tokenizer_config(folder)
    if _has_tekken(folder):
        config = {"bos_token": BEGIN, "eos_token": END} | config
    stated = _tokenizer_json(folder, config)
    template_tokens = _template_tokens(config)
    end_ids = frozenset(_end_ids(folder))
    added = _added_tokens(folder, stated, config, template_tokens, end_ids)
    pieces, vocabulary = _pieces(folder, stated, added)
    ids = {token.text: token.id for token in added}
    eos = template_tokens.get("eos_token", "")
    ends = {ids[name] for name in end_names(ids) | {eos} if name in ids}
    begin = _first_special(stated.get("post_processor"))
    return TokenizerConfig(
        path=folder.path,
        tokens=_by_id(vocabulary | ids),
        pieces=pieces,
        added_tokens=added,
        no_text_ids=frozenset(ids.values()),
        stop_ids=end_ids.union(ends),
        template_tokens=template_tokens,
        begin_ids=(ids[begin],) if begin in ids else (),
        chat_template=_chat_template(folder, config) or _tekken_template(folder),
    )


def _tokenizer_json(folder: ModelFolder, config: Mapping[str, Any]) -> dict[str, Any]:
    """Read tokenizer.json, or else convert another vocabulary to its format."""
    if _has_tekken(folder):
        try:
            return tekken_json(folder.json(_TEKKEN) or {})
        except ValueError as error:
            raise _error(folder, str(error), _TEKKEN) from None
    stated = folder.json(_TOKENIZER)
    if stated is None:
        if ranked := [file.name for p in _RANKED for file in folder.path.glob(p)]:
            raise ModelFileError(
                f"{folder.path}: the folder has no {_TOKENIZER}, and {ranked[0]} of tiktoken does "
                "not have the pattern that splits texts. Write tokenizer.json with transformers: "
                "pip install tiktoken, then AutoTokenizer.from_pretrained(…).save_pretrained(…)"
            )
        if not (folder.path / _SENTENCE_PIECES).is_file():
            raise ModelFileError(
                f"{folder.path}: the folder has no {_TOKENIZER} and no {_SENTENCE_PIECES}. Add the "
                f"model's {_TOKENIZER}; transformers writes it with "
                "AutoTokenizer.from_pretrained(…).save_pretrained(…)"
            )
        return _of_sentence_pieces(folder, config)
    model = stated.get("model")
    # Old files do not state the type.
    kind = model.get("type", "BPE") if isinstance(model, dict) else None
    if kind not in _MODELS:
        known = ", ".join(_MODELS)
        raise _error(folder, f"tokenizer model {kind!r} is not supported; {known} are")
    return {**stated, "model": {**stated["model"], "type": kind}}


def _has_tekken(folder: ModelFolder) -> bool:
    """Return True if the folder's only tokenizer is Mistral's."""
    return (folder.path / _TEKKEN).is_file() and not (folder.path / _TOKENIZER).is_file()


def _of_sentence_pieces(folder: ModelFolder, config: Mapping[str, Any]) -> dict[str, Any]:
    """Read tokenizer.model as the contents of a tokenizer.json."""
    path = folder.path / _SENTENCE_PIECES
    found = read_sentencepiece_file(path, "always" if config.get("legacy") else "first")
    stated = tokenizer_json(found)
    names = {UNKNOWN: True, CONTROL: True, USER_DEFINED: False}
    added: list[dict[str, Any]] = [
        {"id": i, "content": piece, "special": names[kind]}
        for i, (piece, kind) in enumerate(zip(found.pieces, found.types, strict=True))
        if kind in names and SPACE not in piece
    ]
    more = folder.json(_ADDED_TOKENS) or {}
    added += [{"id": i, "content": text, "special": False} for text, i in more.items()]
    bos = _token_text(config.get("bos_token"))
    if config.get("add_bos_token", True) and bos:
        stated["post_processor"] = {"single": [{"SpecialToken": {"id": bos}}]}
    return {**stated, "added_tokens": added}


def _tokenizer_config(folder: ModelFolder) -> dict[str, Any]:
    """Read tokenizer_config.json. For older folders, add the keys of special_tokens_map.json."""
    config = folder.json(_TOKENIZER_CONFIG) or {}
    if "added_tokens_decoder" in config:
        return config
    return config | (folder.json(_SPECIAL_TOKENS) or {})


def _template_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the special tokens that are chat-template variables: name → text."""
    more = config.get("extra_special_tokens")
    stated = {name: value for name, value in config.items() if name.endswith("_token")}
    stated |= more if isinstance(more, dict) else {}
    return {name: text for name, value in stated.items() if (text := _token_text(value))}


def _added_tokens(
    folder: ModelFolder,
    stated: Mapping[str, Any],
    config: Mapping[str, Any],
    template_tokens: Mapping[str, str],
    end_ids: Collection[int],
) -> tuple[AddedToken, ...]:
    """Read the added tokens of tokenizer.json and of tokenizer_config.json, which takes precedence.

    A token is a control token if the files call it special, name its role (such as ``eos_token``)
    or list it as an end token, or if ``is_marker`` is true of it.
    """
    listed = stated.get("added_tokens") or []
    rows = listed if isinstance(listed, list) else [listed]
    decoder = config.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise _error(folder, "added_tokens_decoder must be an object", _TOKENIZER_CONFIG)
    more = [config.get(key) for key in _MORE_TOKENS]
    control = {
        *template_tokens.values(),
        *(_token_text(token) for part in more if isinstance(part, list) for token in part),
    }
    added = {token.text: token for row in rows for token in [_added_token(folder, row, control)]}
    for id_, row in decoder.items():
        row = {**row, "id": int(id_)} if isinstance(row, dict) and id_.isdecimal() else row
        token = _added_token(folder, row, control, _TOKENIZER_CONFIG)
        added[token.text] = token
    for text, id_ in _named_in_vocabulary(stated, control - added.keys()):
        added[text] = AddedToken(text, id_, is_control=True)
    return tuple(
        replace(t, is_control=t.is_control or t.id in end_ids or is_marker(t.text))
        for t in added.values()
    )


def _added_token(
    folder: ModelFolder, row: object, control: Collection[str], file: str = _TOKENIZER
) -> AddedToken:
    match row:
        case {"content": str(text), "id": id_, **rest} if _is_id(id_):
            is_control = bool(rest.get("special")) or text in control
            flags = {flag: bool(rest.get(flag)) for flag in _FLAGS}
            return AddedToken(text, id_, is_control, **flags)
        case _:
            raise _error(folder, f"added token {row!r} lacks a valid id or text", file)


def _named_in_vocabulary(
    stated: Mapping[str, Any], names: Collection[str]
) -> Iterator[tuple[str, int]]:
    """Yield the text and id of each of ``names`` that is a special token in the vocabulary.

    Single letters and merge results are excluded. They are ordinary text, even if a file names
    them, for example as padding.
    """
    words = vocabulary_of(stated["model"]) if _has_vocabulary(stated["model"]) else {}
    names = [name for name in names if len(name) > 1 and _is_id(words.get(name))]
    if names:
        merges = stated["model"].get("merges") or ()
        merged = {"".join(m.split(" ") if isinstance(m, str) else m) for m in merges}
        yield from ((name, words[name]) for name in sorted(set(names) - merged))


def _pieces(
    folder: ModelFolder, stated: Mapping[str, Any], added: Sequence[AddedToken]
) -> tuple[PieceEncoder, dict[str, int]]:
    """Build the encoder of ordinary text; return it with its vocabulary."""
    model = dict(stated["model"])
    if not isinstance(model.get("merges"), list | None):
        raise _error(folder, "merges is not a list")
    if not _has_vocabulary(model):
        raise _error(folder, "vocab is missing or does not map tokens to ids")
    merges = [m.split(" ") if isinstance(m, str) else m for m in model.get("merges") or ()]
    if not all(_is_pair(merge) for merge in merges):
        raise _error(folder, "merges has values other than pairs of tokens")
    vocabulary = vocabulary_of(model)
    suffix = model.get("continuing_subword_prefix") or ""
    joined = [(left, right.removeprefix(suffix)) for left, right in merges]
    if (invalid := invalid_merge(joined, vocabulary)) is not None:
        raise _error(folder, f"damaged tokenizer: the merge {invalid!r} yields no known token")
    merged = {left + right for left, right in joined}
    if model["type"] == "BPE":
        model["merges"] = merges
    # Added words are found before; where a tokenizer looks up whole pieces, it would find them too.
    hidden = {token.text for token in added if token.is_control or token.text not in merged}
    try:
        encoder = encoder_of({**stated, "model": model}, hidden)
    except ValueError as error:
        raise _error(folder, f"damaged tokenizer: {error}") from None
    return encoder, vocabulary


def _has_vocabulary(model: Mapping[str, Any]) -> bool:
    words = model.get("vocab")
    if model["type"] == "Unigram":
        pairs = words if isinstance(words, list) else [None]
        return all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) for p in pairs)
    return isinstance(words, dict) and all(_is_id(i) for i in words.values())


def _by_id(ids: Mapping[str, int]) -> tuple[str, ...]:
    """Return the tokens in id order, with an empty string for each unused id."""
    tokens = [""] * (max(ids.values(), default=-1) + 1)
    for token, i in ids.items():
        tokens[i] = token
    return tuple(tokens)


def _end_ids(folder: ModelFolder) -> Iterator[int]:
    """Yield the ids under ``eos_token_id`` in generation_config.json, otherwise in config.json."""
    generation = folder.json(_GENERATION_CONFIG) or {}
    report_not_applied(folder.path / _GENERATION_CONFIG, generation)
    name = _GENERATION_CONFIG if generation.get("eos_token_id") is not None else CONFIG
    value = (generation if name == _GENERATION_CONFIG else folder.config).get("eos_token_id")
    for token in value if isinstance(value, list) else [value]:
        if _is_id(token):
            yield token
        elif token is not None:
            raise ModelFileError(
                f"{folder.path / name}: eos_token_id must be a token id, not {value!r}"
            )


def _chat_template(folder: ModelFolder, config: Mapping[str, Any]) -> str | None:
    """Return the chat template from its file, or otherwise from tokenizer_config.json.

    The ``chat_template`` key may contain several named templates. The ``default`` template is used.
    """
    template: object = next(filter(None, map(folder.text, _TEMPLATES)), None)
    template = template or config.get("chat_template")
    if template is None:
        return None
    named: dict[str, object] = {"default": template}
    if isinstance(template, list):
        named = {str(t.get("name")): t.get("template") for t in template if isinstance(t, dict)}
    return default_template(named, str(folder.path / _TOKENIZER_CONFIG))


def _tekken_template(folder: ModelFolder) -> str | None:
    """Return the chat template that mistral-common has for a folder with only a tekken.json."""
    if not _has_tekken(folder):
        return None
    try:
        from mistral_common.integrations.chat_templates.chat_templates import (
            convert_tokenizer_to_chat_template,
        )
    except ImportError:
        warn_once(
            f"{folder.path}: the folder has no chat template, so messages are sent as a "
            "transcript. For Mistral's format: pip install mistral-common, or add the model's "
            "chat_template.jinja"
        )
        return None
    try:
        template: str = convert_tokenizer_to_chat_template(folder.path / _TEKKEN)
    except Exception as error:  # the library raises errors of many types
        raise _error(folder, f"mistral-common cannot make a chat template: {error}", _TEKKEN) from (
            error
        )
    return template


def _first_special(post_processor: object) -> str:
    """Return the special token that the post-processor inserts before a text, or "" if none."""
    if not isinstance(post_processor, dict):
        return ""
    for part in post_processor.get("processors") or []:
        if first := _first_special(part):
            return first
    template = post_processor.get("single") or [{}]
    token = template[0].get("SpecialToken") if isinstance(template[0], dict) else None
    return str(token.get("id", "")) if isinstance(token, dict) else ""


def _token_text(value: object) -> str:
    """Return the text of a special token, given as a string or as ``{"content": text}``.

    Returns an empty string for any other value.
    """
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _is_pair(value: object) -> TypeGuard[Sequence[str]]:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(v, str) for v in value)
    )


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 24


def _error(folder: ModelFolder, reason: str, file: str = _TOKENIZER) -> ModelFileError:
    return ModelFileError(f"{folder.path / file}: {reason}")
