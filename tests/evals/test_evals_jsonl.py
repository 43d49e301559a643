"""JSON Lines files, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from archon.errors import SpecError
from archon.evals.benchmarks import Item, load_items
from archon.spec.benchmark import BenchmarkCard
from archon.spec.json_lines import read_rows

GOOD = b'{"question": "What is 1 + 1?", "answer": "2"}\n'
CARD = BenchmarkCard.model_validate({"version": 1, "name": "t", "source": {"jsonl": "t.jsonl"}})
CARD_WITH_IDS = CARD.model_copy(update={"fields": CARD.fields.model_copy(update={"id": "id"})})


def load(path: Path, card: BenchmarkCard) -> list[Item]:
    return load_items(card, path.parent, "all", data_path=path)


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "items.jsonl"
    path.write_bytes(content)
    return path


def test_rows_have_the_numbers_of_their_lines(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"a": 1}\r\n\n   \n{"a": 2}')
    assert list(read_rows(path)) == [(1, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"question": "a", "answer": 1', "invalid JSON: .* at column 30"),
        (b"not json", "invalid JSON: .* at column 1"),
        (
            b'["question", "answer"]',
            "is a list of 2; every line of a JSON Lines file must be an object",
        ),
        (b"[", "invalid JSON"),
        (b"\x00\x01\x02", "NUL byte"),
        (b"\xff\xfe{\x00}\x00", "UTF-16"),
        (b'{"question": "caf\xe9"}', "is not UTF-8"),
        (b'{"question": "a", "question": "b", "answer": 1}', "is repeated"),
        (b'{"question": "a", "answer": NaN}', "NaN is not JSON"),
        (b'{"question": "a", "answer": ' + b"9" * 5000 + b"}", "a number with 5000 characters"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"question": "' + b"a" * 5_000_000 + b'"}', "larger than 4 MiB"),
        (b'{"question": "a"}', "no 'answer' field"),
        (b'{"question": "a", "answer": "none"}', "no number can be read"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path: Path, line: bytes, message: str) -> None:
    path = written(tmp_path, GOOD + line + b"\n" + GOOD)
    with pytest.raises(SpecError, match=message) as error:
        load(path, CARD)
    assert str(error.value).startswith(f"{path}:2: ")
    assert len(str(error.value)) < 400


def test_an_object_on_several_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"items\.jsonl:1: invalid JSON"):
        load(written(tmp_path, b'{"question": "a",\n"answer": 1}\n'), CARD)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_items_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SpecError, match="has no items"):
        load(written(tmp_path, content), CARD)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.jsonl: no such file"):
        load(tmp_path / "nowhere.jsonl", CARD)
    with pytest.raises(SpecError, match="is a folder, not a file"):
        load(tmp_path, CARD)


def test_an_id_given_twice_is_refused(tmp_path: Path) -> None:
    line = b'{"id": "x", "question": "What is 1 + 1?", "answer": 2}\n'
    with pytest.raises(SpecError, match="two items have the id 'x'"):
        load(written(tmp_path, line * 2), CARD_WITH_IDS)
