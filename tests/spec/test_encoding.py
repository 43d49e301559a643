"""Byte-order marks are removed from text, and errors name the location of undecodable bytes."""

from __future__ import annotations

import codecs
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.errors import SpecError
from archon.spec.encoding import MARK, decode_text, read_text, without_marks
from archon.spec.json_lines import read_rows
from archon.spec.strict_json import decode_json

ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters=MARK + "\0"))


def encoded(text: str, encoding: str) -> bytes:
    return ENCODINGS[encoding] + text.encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=TEXT)
def test_text_is_read_from_every_encoding_with_a_byte_order_mark(encoding: str, text: str) -> None:
    assert decode_text(encoded(text, encoding)) == text


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_is_read_from_every_encoding(encoding: str) -> None:
    assert decode_json(encoded('{"é": "√2"}\r\n', encoding)) == {"é": "√2"}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_json_lines_are_read_from_every_encoding(
    tmp_path: Path, encoding: str, line_end: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(encoded(line_end.join(['{"a": "é"}', "", '{"a": "√"}', ""]), encoding))
    assert list(read_rows(path)) == [(1, {"a": "é"}), (3, {"a": "√"})]


def test_concatenated_files_have_marks_within_the_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    one = codecs.BOM_UTF8 + b'{"a": 1}\n'
    path.write_bytes(one + one + codecs.BOM_UTF8 + b"\n" + one)
    assert [row for _, row in read_rows(path)] == [{"a": 1}] * 3
    assert without_marks(f"{MARK}What is\n{MARK}2 + 3?") == "What is\n2 + 3?"


def test_json_lines_are_read_from_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: path.write_bytes(codecs.BOM_UTF8 + b'{"a": 1}\n'))
    thread.start()
    assert list(read_rows(path)) == [(1, {"a": 1})]
    thread.join()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"caf\xe9", "is not UTF-8: byte 0xe9 at line 1 column 4; save it as UTF-8"),
        (codecs.BOM_UTF8 + b"a\ncaf\xe9", "is not UTF-8: byte 0xe9 at line 2 column 4"),
        (codecs.BOM_UTF16_LE + b"a\0b", "is not UTF-16: byte 0x62 at line 1 column 2"),
    ],
)
def test_undecodable_bytes_are_reported_with_their_location(content: bytes, reason: str) -> None:
    with pytest.raises(SpecError) as caught:
        decode_text(content, "notes.txt")
    assert str(caught.value).startswith(f"notes.txt: {reason}")


def test_a_line_of_another_encoding_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + codecs.BOM_UTF16_LE + b"{\0}\0\n")
    with pytest.raises(SpecError, match=r"rows\.jsonl:2: is UTF-16, unlike the beginning"):
        list(read_rows(path))
    path.write_bytes(codecs.BOM_UTF16_LE + '{"a": 1}\n'.encode("utf-16-le") + b"\x00\xd8\n\0")
    with pytest.raises(SpecError, match=r"rows\.jsonl:\d: is not UTF-16.*; save the file as UTF-8"):
        list(read_rows(path))


def test_a_broken_link_is_reported(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "gone.json")
    with pytest.raises(SpecError, match="is a symbolic link to a file that does not exist"):
        read_text(link)
