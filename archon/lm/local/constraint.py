"""Constraints as token masks, computed by llguidance (https://github.com/guidance-ai/llguidance).

A constraint is compiled once into a grammar over the bytes of tokens, and each sample uses a copy
of the grammar. If the grammar allows only one continuation, that text is encoded by the tokenizer.
No constraint allows control tokens or other tokens that ordinary text never contains.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property, lru_cache
from hashlib import blake2b

import torch
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from torch import Tensor

from archon.engine.sampling.constraint import ConstraintError, Matcher
from archon.errors import UnsupportedError
from archon.lm.local.tokenizer import TextTokenizer
from archon.types import Constraint, FreeText

_JSON_FORMAT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""White space as in ``json.dumps``. Without this limit, a model could generate pages of it.
"""
_MAX_ORDERED = 64
"""Maximum number of items in ``Constraint.order_of``."""
_MAX_CACHED = 64


class ConstraintCompiler:
    """Compiles constraints into grammars over one model's tokens.

    Compiling takes about a millisecond. The first call also prepares the vocabulary, which takes up
    to half a second.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._compiled = lru_cache(_MAX_CACHED)(self._compile)

    def compile(self, constraint: Constraint) -> CompiledConstraint:
        """Compile a constraint.

        Raises
        ------
        UnsupportedError
            The constraint cannot be expressed as a grammar. The error quotes the constraint.
        """
        return self._compiled(*_description(constraint), constraint.after)

    def compile_grammar(self, grammar: str) -> CompiledConstraint:
        """Compile a grammar in llguidance's Lark dialect, such as that of tool calls.

        Raises
        ------
        UnsupportedError
            The grammar is invalid, for example because of a JSON schema in it.
        """
        return self._compiled("grammar", grammar, None)

    def _compile(self, kind: str, text: str, after: FreeText | None) -> CompiledConstraint:
        start = "" if after is None else " "  # between the label and the constrained text
        matcher = LLMatcher(self._vocabulary, _grammar(kind, text, start), log_level=0)
        if matcher.is_error():
            names = {"json": "JSON schema", "regex": "regular expression", "order": "order"}
            names["grammar"] = "grammar of tool calls"
            reason = " ".join(matcher.get_error().split())
            raise UnsupportedError(
                f"the {names[kind]} {_shortened(text)} is invalid or not supported: {reason}",
                field="tools" if kind == "grammar" else "constraint",
            )
        key = blake2b(repr((kind, text, after)).encode(), digest_size=16).hexdigest()
        return CompiledConstraint(key, matcher, self._tokenizer, after)

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        wrapper = TokenizerWrapper(_Vocabulary(self._tokenizer))
        return LLTokenizer(wrapper, eos_token=sorted(self._tokenizer.stop_ids))


class CompiledConstraint:
    """A compiled constraint; implements ``archon.engine.sampling.constraint.TokenConstraint``."""

    def __init__(
        self, key: str, grammar: LLMatcher, tokenizer: TextTokenizer, after: FreeText | None
    ) -> None:
        self.key = key
        self.room = None if after is None else after.room
        """Tokens reserved for the constrained line; None if the complete text is constrained."""
        self._grammar, self._tokenizer, self._after = grammar, tokenizer, after

    def matcher(self, index: int, max_tokens: int) -> Matcher:
        """Return a matcher for sample ``index``, which has at most ``max_tokens`` tokens."""
        matcher = GrammarMatcher(self._grammar.deep_copy(), self._tokenizer)
        if self._after is None:
            return matcher
        num_free = max(0, max_tokens - self._after.room)
        return FreeTextMatcher(self._after.label, num_free, matcher, self._tokenizer)


class GrammarMatcher:
    """Matches one sample against a grammar (``archon.engine.sampling.constraint.Matcher``)."""

    def __init__(self, grammar: LLMatcher, tokenizer: TextTokenizer) -> None:
        self._grammar, self._stop_ids = grammar, tokenizer.stop_ids
        self._num_words = -(-len(tokenizer.tokens) // 32)
        self._ended = False

    @property
    def finished(self) -> bool:
        return self._ended or self._grammar.is_stopped()

    def forced(self) -> Sequence[int]:
        forced = self._grammar.compute_ff_tokens()
        self._check()
        return forced

    def allowed(self) -> Tensor:
        mask = self._grammar.compute_bitmask()
        self._check()
        return torch.frombuffer(bytearray(mask), dtype=torch.int32)[: self._num_words]

    def advance(self, token: int) -> None:
        if token in self._stop_ids:
            self._ended = True
        else:
            self._grammar.consume_token(token)
            self._check()

    def _check(self) -> None:
        if self._grammar.is_error():
            reason = " ".join(self._grammar.get_error().split())
            raise ConstraintError(f"the constraint cannot be satisfied: {reason}")


class FreeTextMatcher:
    """Matches one sample: free text up to a label, then a constraint.

    Parameters
    ----------
    label
        Text at the beginning of the constrained line, such as ``Verdict:``. It is forced if the
        sample does not contain it.
    num_free
        Maximum number of free-text tokens.
    inner
        Matcher of the text after the label.
    """

    def __init__(
        self, label: str, num_free: int, inner: GrammarMatcher, tokenizer: TextTokenizer
    ) -> None:
        self._label, self._inner, self._tokenizer = label.encode(), inner, tokenizer
        self._num_free = num_free
        self._line = b""
        """Bytes of the current line of free text."""
        self._pending: list[int] = [] if num_free else tokenizer.encode_pieces(label)
        """Label tokens that must still be forced."""
        self._is_free = num_free > 0

    @property
    def finished(self) -> bool:
        return not self._is_free and not self._pending and self._inner.finished

    def forced(self) -> Sequence[int]:
        if self._is_free:
            return ()
        return self._pending or self._inner.forced()

    def allowed(self) -> Tensor | None:
        return None if self._is_free else self._inner.allowed()

    def advance(self, token: int) -> None:
        if self._is_free:
            self._advance_free(token)
        elif self._pending:
            assert token == self._pending[0]
            self._pending = self._pending[1:]
        else:
            self._inner.advance(token)

    def _advance_free(self, token: int) -> None:
        self._num_free -= 1
        self._line = (self._line + self._tokenizer.token_bytes(token)).rpartition(b"\n")[2]
        if self._line == self._label:
            self._is_free = False
        elif token in self._tokenizer.stop_ids or self._num_free <= 0:
            self._is_free = False
            line_end = "\n" if self._line else ""
            self._pending = self._tokenizer.encode_pieces(line_end + self._label.decode())


class _Vocabulary:
    """Adapts a tokenizer to the interface of llguidance's ``TokenizerWrapper``."""

    bos_token_id = None

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        special = tokenizer.no_text_ids
        self.tokens = [
            b"" if token in special else tokenizer.token_bytes(token)
            for token in range(len(tokenizer.tokens))
        ]
        self.special_token_ids = sorted(special)
        self.eos_token_id = min(tokenizer.stop_ids)

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode_pieces(text)


def _description(constraint: Constraint) -> tuple[str, str]:
    """Return the type (``regex``, ``order`` or ``json``) and the text of a constraint."""
    if constraint.regex is not None:
        return "regex", constraint.regex
    if constraint.order_of is not None:
        return "order", json.dumps(constraint.order_of, ensure_ascii=False)
    try:
        return "json", json.dumps(constraint.json_schema, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise UnsupportedError(
            f"the JSON schema is not JSON: {error}", field="constraint"
        ) from None


def _grammar(kind: str, text: str, start: str) -> str:
    """Return a grammar for ``start`` followed by the constraint, in llguidance's Lark dialect."""
    if kind == "regex":
        return LLMatcher.grammar_from_regex(f"{start}(?:{text})" if start else text)
    if kind == "grammar":
        return text
    if kind == "order":
        return _order_grammar(json.loads(text), start)
    schema = json.dumps({**json.loads(text), "x-guidance": _JSON_FORMAT})
    if not start:
        return LLMatcher.grammar_from_json_schema(schema)
    return f'start: "{start}" value\nvalue: %json {schema}'


def _order_grammar(items: Sequence[str], start: str) -> str:
    """Return a grammar for every order of the items, such as ``b > a > c``.

    The parameter after ``::`` is a bit mask of the items that are already used.
    """
    if not 1 <= len(items) <= _MAX_ORDERED or len(set(items)) < len(items) or "" in items:
        raise UnsupportedError(
            f"order_of must contain 1 to {_MAX_ORDERED} different, non-empty items",
            field="constraint",
        )
    is_complete = f"is_ones([0:{len(items)}])"
    item_rules = "\n  | ".join(
        f"{json.dumps(item, ensure_ascii=False)} rest::set_bit({i}) %if bit_clear({i})"
        for i, item in enumerate(items)
    )
    return (
        f'start: "{start}" item::0x0\n'
        f"item::_: {item_rules}\n"
        f'rest::_: "" %if {is_complete}\n  | " > " item::_ %if not({is_complete})'
    )


def _shortened(text: str, max_length: int = 200) -> str:
    return repr(text if len(text) <= max_length else text[: max_length - 1] + "…")
