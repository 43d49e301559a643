from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import TinyModel, bytes_to_letters, tiny_vocabulary, write_gguf

from archon.engine.files.gguf import GGUFFile
from archon.lm.local.detokenizer import Detokenizer
from archon.lm.local.tokenizer import TextTokenizer, read_tokenizer_config
from archon.reasoning import Part

TOKENS = tiny_vocabulary().tokens
BYTE_IDS = [TOKENS.index(letter) for _, letter in sorted(bytes_to_letters().items())]


@cache
def tokenizer() -> TextTokenizer:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_gguf(path, TinyModel())
        return TextTokenizer(read_tokenizer_config(GGUFFile(path)))


def byte_ids(text: str | bytes) -> list[int]:
    """One token for each byte."""
    return [BYTE_IDS[byte] for byte in (text.encode() if isinstance(text, str) else text)]


def stream(ids: Iterable[int], *stop: str) -> tuple[Detokenizer, list[str]]:
    """Feed tokens until a stop string is found; the last delta is what was held back."""
    stream = Detokenizer(tokenizer(), stop)
    deltas = []
    for token in ids:
        deltas.append(joined(stream.feed(token)))
        if stream.stopped:
            break
    return stream, [*deltas, joined(stream.finish())]


def joined(parts: Iterable[Part]) -> str:
    """The text of parts that are all answer."""
    parts = list(parts)
    assert not any(part.is_reasoning for part in parts)
    return "".join(part.text for part in parts)


def first_stop(text: str, stops: Iterable[str]) -> int:
    """Where the text ends: before the stop string that is complete first, letter by letter."""
    for end in range(1, len(text) + 1):
        begins = [end - len(s) for s in stops if text[:end].endswith(s)]
        if begins:
            return min(begins)
    return len(text)


def test_characters_are_sent_completely() -> None:
    result, deltas = stream(byte_ids("é🧮!"))
    assert deltas == ["", "é", "", "", "", "🧮", "!", ""]
    assert result.text == "é🧮!"


@pytest.mark.parametrize("end", [b"\xf0\x9f", b"\xc3", b"\xf0\x9f\xa7"])
def test_an_incomplete_character_is_replaced(end: bytes) -> None:
    result, deltas = stream(byte_ids(b"ok" + end))
    assert result.text == "ok\ufffd"
    assert "".join(deltas) == result.text


def test_a_possible_beginning_of_a_stop_string_is_held_back() -> None:
    _, deltas = stream(byte_ids("12\n\nQ: no\n"), "\nQ: yes", "\n\nQ:x")
    assert deltas[:6] == ["1", "2", "", "", "", ""]
    assert "".join(deltas) == "12\n\nQ: no\n"


def test_the_text_ends_before_a_stop_string_across_tokens() -> None:
    result, deltas = stream(byte_ids("the end. STOP and more"), "STOP")
    assert result.stopped
    assert result.text == "".join(deltas) == "the end. "


def test_a_stop_string_within_one_token_cuts_the_token() -> None:
    result, deltas = stream([TOKENS.index("Ġanswer")], "sw")
    assert result.text == "".join(deltas) == " an"


def test_the_earliest_of_several_stop_strings_applies() -> None:
    result, _ = stream([TOKENS.index("Ġanswer")], "er", "nswer", "we")
    assert result.text == " a"


def test_a_stop_string_may_contain_a_multibyte_character() -> None:
    result, deltas = stream(byte_ids("a🧮b"), "🧮")
    assert result.text == "".join(deltas) == "a"


def test_control_tokens_add_nothing() -> None:
    result, deltas = stream([TOKENS.index("<|im_start|>"), *byte_ids("x")])
    assert (result.text, "".join(deltas)) == ("x", "x")


@given(
    text=st.text("ab\né", max_size=30),
    stops=st.lists(st.text("ab\né", min_size=1, max_size=4), max_size=3),
)
def test_deltas_concatenate_to_the_text_before_the_first_stop_string(
    text: str, stops: list[str]
) -> None:
    result, deltas = stream(byte_ids(text), *stops)
    assert "".join(deltas) == result.text == text[: first_stop(text, stops)]
    assert result.stopped == any(stop in text for stop in stops)


@given(st.binary(max_size=30))
def test_any_bytes_become_text(content: bytes) -> None:
    result, deltas = stream(byte_ids(content))
    assert "".join(deltas) == result.text == content.decode("utf-8", "replace")
