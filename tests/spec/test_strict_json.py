"""Strict JSON: bytes become data or a clear error, in linear time."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.errors import SpecError
from archon.spec.strict_json import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_DIGITS,
    decode_json,
    read_json,
    walk,
)

JSON_DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # A lone surrogate is the one kind of text that strict JSON refuses.
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=30,
)


def refusal(content: bytes) -> SpecError:
    with pytest.raises(SpecError) as caught:
        decode_json(content, "a.json")
    assert caught.value.file == "a.json"
    return caught.value


@given(JSON_DATA, st.booleans())
def test_data_written_by_json_is_read_back(data: object, ascii_only: bool) -> None:
    assert decode_json(json.dumps(data, ensure_ascii=ascii_only).encode()) == data


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_data_or_a_spec_error(content: bytes) -> None:
    with contextlib.suppress(SpecError):
        decode_json(content)


FRAGMENTS = st.lists(
    st.sampled_from(
        ["[", "]", "{", "}", ",", ":", '"a"', '"', "\\", "1", "-", "1e999", "NaN", "\\ud800", " "]
    )
)


@given(FRAGMENTS)
def test_json_in_pieces_is_data_or_a_spec_error(pieces: list[str]) -> None:
    with contextlib.suppress(SpecError):
        decode_json("".join(pieces).encode())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b" \n\t", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"\xff\xfe{\x00}", "is not UTF-16: byte 0x7d at line 1 column 2; save it as UTF-8"),
        ("{}".encode("utf-16-le"), "contains a NUL byte at line 1 column 2; is it UTF-16?"),
        (b'{"a":\n "caf\xe9"}', "is not UTF-8: byte 0xe9 at line 2 column 6"),
        (b"{}\n x", "invalid JSON: more text after the value at line 2 column 2"),
        (b'{"a" 1}', "invalid JSON: expecting ':' delimiter at line 1 column 6"),
        (b'["a', "invalid JSON: unterminated string starting at line 1 column 2"),
        (b"{'a': 1}", "invalid JSON: expecting property name"),
    ],
)
def test_text_that_is_not_json_is_rejected_with_its_location(content: bytes, reason: str) -> None:
    assert refusal(content).reason.startswith(reason)


@pytest.mark.parametrize(
    ("content", "path", "reason"),
    [
        (b'{"a": [0, {"b": 1, "c": 2, "b": 3}]}', "$.a[1].b", "the key 'b' is repeated"),
        (b'{"a": 1, "\\u0061": 2}', "$.a", "the key 'a' is repeated"),
        (b'{"a": [1, NaN]}', "$.a[1]", "NaN is not JSON"),
        (b'{"a": -Infinity}', "$.a", "-Infinity is not JSON"),
        (b'{"a": 1e999}', "$.a", "the number 1e999 is too large"),
        (b'{"a": "x\\ud800"}', "$.a", "contains an unpaired surrogate"),
        (b'{"a": {"\\udc00": 1}}', "$.a", "contains an unpaired surrogate"),
        (b'{"a": [' + b"1" * 5000 + b"]}", "$.a[0]", "a number with 5000 characters"),
        (b'{"a": 0.' + b"1" * 5000 + b"}", "$.a", "a number with 5002 characters"),
    ],
)
def test_values_that_json_accepts_are_rejected_with_their_path(
    content: bytes, path: str, reason: str
) -> None:
    error = refusal(content)
    assert error.path == path
    assert error.reason.startswith(reason)


def test_the_first_of_several_faults_is_reported() -> None:
    assert refusal(b'{"a": {"x": NaN}, "b": NaN}').path == "$.a.x"


def test_a_surrogate_pair_is_one_character() -> None:
    assert decode_json(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


def test_numbers_are_read_up_to_their_limit() -> None:
    assert decode_json(b"9" * MAX_DIGITS) == 10**MAX_DIGITS - 1


def test_nesting_is_read_up_to_its_limit_and_no_deeper() -> None:
    decode_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    error = refusal(b"[" * (MAX_DEPTH + 1))
    place = f"line 1 column {MAX_DEPTH + 1}"
    assert error.reason == f"is nested deeper than {MAX_DEPTH} levels at {place}"


def test_brackets_inside_strings_are_not_nesting() -> None:
    text = '\\"' + "[" * 1000
    assert decode_json(json.dumps([text]).encode()) == [text]


def test_size_is_limited() -> None:
    assert refusal(b" " * (MAX_BYTES + 1)).reason == "is larger than 4 MiB"


@pytest.mark.parametrize(
    "content",
    [
        b'"' + b'\\"' * (MAX_BYTES // 2 - 1),
        b'["' + b'\\"' * (MAX_BYTES // 2 - 2),
        b"[" * MAX_BYTES,
        b"[]" * (MAX_BYTES // 2),
        b"9" * MAX_BYTES,
        b"{" + b'"a":1,' * (MAX_BYTES // 6 - 1) + b'"a":1}',
        b"[" + b"NaN," * (MAX_BYTES // 4 - 1) + b"1]",
        b"\n" * (MAX_BYTES - 1) + b"x",
        b"\0" * MAX_BYTES,
    ],
    ids=["open string", "open list", "deep", "wide", "digits", "keys", "nan", "lines", "nul"],
)
def test_the_worst_file_of_the_largest_size_is_rejected_in_seconds(content: bytes) -> None:
    begin = time.process_time()
    refusal(content)
    assert time.process_time() - begin < 10


def test_a_file_is_read_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": NaN}', encoding="utf-8")
    with pytest.raises(SpecError, match=r"^mine: \$\.a: NaN"):
        read_json(path, "mine")
    path.write_text('{"a": 1}', encoding="utf-8")
    assert read_json(path) == {"a": 1}


def test_an_unreadable_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="no such file"):
        read_json(tmp_path / "missing.json")
    with pytest.raises(SpecError, match="is a folder, not a file"):
        read_json(tmp_path)
    with pytest.raises(SpecError, match="is not a valid file name"):
        read_json(Path("a\0b.json"))
    with pytest.raises(SpecError, match=r"cannot be read \(.*name too long"):
        read_json(tmp_path / ("x" * 1000))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SpecError, match="permission denied"):
        read_json(tmp_path / "secret.json")


def test_a_file_larger_than_the_limit_is_not_read_completely(tmp_path: Path) -> None:
    path = tmp_path / "sparse.json"
    with path.open("wb") as handle:
        handle.truncate(1 << 36)
    with pytest.raises(SpecError, match="larger than 4 MiB"):
        read_json(path)


def test_walk_visits_values_in_the_order_of_the_file() -> None:
    visited = [(path, value) for path, value in walk({"a": [1, {"b": 2}], "c": 3})]
    assert [path for path, _ in visited] == [
        (),
        ("a",),
        ("a", 0),
        ("a", 1),
        ("a", 1, "b"),
        ("c",),
    ]
    assert visited[4][1] == 2


def test_walk_rejects_data_that_contains_itself() -> None:
    data: dict[str, object] = {}
    data["again"] = data
    with pytest.raises(SpecError, match="nested deeper"):
        list(walk(data))
