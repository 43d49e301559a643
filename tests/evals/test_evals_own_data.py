"""Own data as a benchmark: formats of files, Python tables, columns, kinds of answers, splits."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from archon import api
from archon.errors import SpecError, UsageError

ROWS = [{"prompt": f"What is {n} + 1?", "label": n + 1, "topic": "sums"} for n in range(10)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "prompt,label,topic\n" + "".join(f"What is {n} + 1?,{n + 1},sums\n" for n in range(10))


def opened(ref: Any, split: str = "all", **options: Any) -> api.Benchmark:
    return api.benchmark(ref, split=split, **options)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


# ---------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", CSV),
        ("data.csv", "\n" + CSV.replace("\n", "\r\n")),
        ("data.csv", b"\xef\xbb\xbf" + CSV.replace(",", ";").encode()),
        ("data.csv", CSV.encode("utf-16")),
        ("data.csv", CSV.replace(",", "\t")),
        ("data.csv", "sep=;\n" + CSV.replace(",", ";")),
        ("data.CSV.gz", CSV),
        ("data.tsv", CSV.replace(",", "\t")),
        ("data.json", json.dumps(ROWS)),
        ("data.json", json.dumps({"name": "sums", "data": ROWS}, indent=1)),
        ("data.json", LINES),
        ("data.json.gz", json.dumps(ROWS)),
        ("data.jsonl", LINES),
        ("data.jsonl.gz", LINES),
    ],
)
def test_every_format_has_the_same_items(tmp_path: Path, name: str, content: str | bytes) -> None:
    found = opened(written(tmp_path, name, content))
    assert [(item.question, item.target) for item in found.items] == [
        (row["prompt"], str(row["label"])) for row in ROWS
    ]
    assert all(item.metadata == {"topic": "sums"} for item in found.items)
    card = found.selection.card
    assert (card.name, card.answer, card.score) == ("data", "number", "number-exact")
    assert found.notes[0] == "question: column 'prompt'; target: column 'label'; answers: number"
    assert found.notes[1] == "all 10 rows are used"


def test_parquet_data_frames_data_sets_and_lists_have_the_same_items(tmp_path: Path) -> None:
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    table = pandas.DataFrame(ROWS)
    table.to_parquet(tmp_path / "data.parquet")
    wanted = [(row["prompt"], str(row["label"])) for row in ROWS]
    for data in (tmp_path / "data.parquet", table, datasets.Dataset.from_list(ROWS), ROWS):
        items = opened(data).items
        assert [(item.question, item.target) for item in items] == wanted
        assert [item.id for item in items] == [f"row-{n + 1}" for n in range(10)]
    with pytest.raises(SpecError, match=r"has the splits 'train'; pass one of them"):
        opened(datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}))


def test_integers_that_a_data_frame_made_floats_are_restored() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"question": ["a", "b"], "answer": ["x", "y"], "level": [3, None]})
    assert [item.metadata for item in opened(table).items] == [{"level": 3}, {}]


def test_quoted_cells_may_have_line_breaks_and_delimiters(tmp_path: Path) -> None:
    text = 'prompt;label\n"Say\n""yes""; now";yes\n\n;\n"b,c,d";no\n'
    found = opened(written(tmp_path, "data.csv", text)).items
    assert [item.question for item in found] == ['Say\n"yes"; now', "b,c,d"]
    assert [item.id for item in found] == ["row-1", "row-2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.csv", 'question,answer\n"a,1\nb,2\nc,3\n', r"d\.csv:4: is not valid CSV"),
        ("d.csv", "question,answer\na,1\nb,2,3\n", r"d\.csv:3: has 3 cells, but the header has 2"),
        ("d.csv", "question,answer,answer\na,1,2\n", "two columns have the name 'answer'"),
        ("d.csv", "question,answer\n", "has no items"),
        ("d.csv", "question,answer\n\na,1\nb,\n", r"d\.csv:4: the 'answer' field is empty"),
        ("d.csv", b"question,answer\ncaf\xe9,1\n", "is not UTF-8; save it as UTF-8"),
        ("d.json", "[1, 2]", "a row must be an object, not 1"),
        ("d.json", '[{"question": "a", "answer": 1}, 2]', "row 2: a row must be an object"),
        ("d.csv.gz", b"", None),
        ("d.parquet", b"PAR1", "is not valid Parquet"),
    ],
)
def test_faults_of_files_name_the_place(
    tmp_path: Path, name: str, content: str | bytes, message: str | None
) -> None:
    path = written(tmp_path, name, content)
    if message is None:
        path.write_bytes(gzip.compress(CSV.encode())[:-9])
        message = "is not a complete gzip file"
    with pytest.raises(SpecError, match=message) as caught:
        opened("smoke", data=path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "none.csv: no such file"),
        ("d.xlsx", "is a spreadsheet; save it as 'CSV UTF-8'"),
    ],
)
def test_a_file_that_is_no_table_is_explained(tmp_path: Path, name: str, message: str) -> None:
    written(tmp_path, "d.xlsx", b"PK")
    with pytest.raises(SpecError, match=message):
        opened(tmp_path / name)


# ---------------------------------------------------------------------------------------- columns


def rows(**columns: list[Any]) -> list[dict[str, Any]]:
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


@pytest.mark.parametrize(
    ("data", "question", "target"),
    [
        (rows(Problem=["a"], Solution=["So 3."], ANSWER=["3"]), "Problem", "ANSWER"),
        (rows(input=["a"], question=["b"], output=["c"], target=["d"]), "question", "target"),
        (rows(Input=["a"], expected_output=["c"]), "Input", "expected_output"),
        (rows(question=["a"], answers=[["b", "c"]]), "question", "answers"),
    ],
)
def test_common_names_are_recognized(data: Any, question: str, target: str) -> None:
    fields = opened(data).selection.card.fields
    assert (fields.question, fields.answer) == (question, target)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (rows(question=["a"], prompt=["b"], answer=[1]), "could be the column 'question' or 'prom"),
        (
            rows(question=["a"], answer=[1], label=[2]),
            "could be the column 'answer' or 'label'; ch",
        ),
        (
            rows(words=["a"], answer=[1]),
            "no column is recognized as the question; name it with --q",
        ),
        (
            rows(question=["a"], truth=[1]),
            "name it with --target. The columns are: 'question', 'tr",
        ),
    ],
)
def test_missing_and_ambiguous_columns_list_what_there_is(data: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        opened(data)


def test_the_user_names_columns_ignoring_case() -> None:
    data = rows(question=["a", "b"], Text=["c", "d"], answer=[1, 2], key=["k", "l"], id=[1, 1])
    found = opened(data, question="text", target="ANSWER", id="key")
    assert [(item.id, item.question) for item in found.items] == [("k", "c"), ("l", "d")]
    assert found.items[0].metadata == {"question": "a", "id": 1}
    with pytest.raises(SpecError, match="there is no column 'texts'; did you mean 'Text'"):
        opened(data, question="texts", target="answer")
    with pytest.raises(SpecError, match="two items have the id '1'"):
        opened(data, question="text", target="answer", id="id")
    assert opened(rows(question=["a", "b"], answer=[1, 2], id=[1, 1])).items[0].id == "row-1"


@pytest.mark.parametrize(
    ("answers", "kind", "targets"),
    [
        (["3.0", "4"], "number", ["3.0", "4"]),
        (["So. #### 3", "#### 1,000"], "number", ["3", "1,000"]),
        ([3, "four"], "text", ["3", "four"]),
        ([True, False], "text", ["true", "false"]),
        (["[1, 2)", "[3, 4]"], "text", ["[1, 2)", "[3, 4]"]),
        (["['a', 'b']", '["c"]'], "text", ["a|b", "c"]),
        ([[1, 2.5], [3]], "number", ["1|2.5", "3"]),
        ([{"text": ["a", "b"], "start": [1]}, {"value": "c", "aliases": ["d"]}], "text",
         ["a|b", "c|d"]),
    ],
)  # fmt: skip
def test_the_kind_of_answers_follows_from_all_targets(
    answers: list[Any], kind: str, targets: list[str]
) -> None:
    found = opened(rows(question=["a", "b"], answer=answers))
    assert found.selection.card.answer == kind
    assert ["|".join(item.targets) for item in found.items] == targets


def test_the_user_names_the_kind_and_the_scorer_follows() -> None:
    data = rows(question=["a", "b"], answer=["1", "[2, 3]"])
    for kind in ("text", "math", "json"):
        found = opened(data, answer=kind)
        assert (found.selection.card.answer, found.scorer.type.kinds[0]) == (kind, kind)
        assert found.items[1].targets == ("[2, 3]",)


def test_the_kind_follows_a_scorer_that_does_not_judge_the_detected_one() -> None:
    data = rows(question=["a", "b"], answer=["1", "2"])
    found = opened(data, scorer="exact")
    assert found.selection.card.answer == "text"
    assert "answers: text, because exact judges this kind" in found.notes
    assert opened(data, scorer="number-close:0.1").selection.card.answer == "number"
    with pytest.raises(UsageError, match="exact judges a text"):
        opened(data, scorer="exact", answer="number")


# ----------------------------------------------------------------------------------------- splits


def test_splits_are_dealt_as_always_and_the_note_counts_them(tmp_path: Path) -> None:
    path = written(tmp_path, "data.csv", CSV)
    card = {"version": 1, "name": "d", "source": {"file": str(path)},
            "fields": {"question": "prompt", "answer": "label"}}  # fmt: skip
    for split, size in (("search", 3), ("select", 3), ("test", 4)):
        found = opened(path, split)
        assert len(found.items) == size
        assert found.items == opened(card, split).items == opened("smoke", split, data=path).items
    assert found.notes[1] == (
        "10 rows: 3 to search, 3 to select, 4 to test; --split all uses every row"
    )
    assert len(opened(card).items) == 10
    assert len(opened("smoke").items) == 48


def test_too_few_rows_say_how_many_are_needed() -> None:
    data = rows(question=["a", "b", "a"], answer=[1, 2, 1])
    with pytest.raises(SpecError, match=r"only 2 distinct questions; at least 3 are needed.*all"):
        opened(data, "select")
    assert len(opened(data).items) == 3


def test_other_data_than_the_datas_own_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, "data.csv", CSV)
    with pytest.raises(UsageError, match="leave out --data"):
        opened(path, data=path)
    with pytest.raises(UsageError, match="unknown split 'train'"):
        opened(path, "train")


def test_data_for_a_card_may_have_other_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "data.csv", "stem,n\na,1\nb,2\n")
    with pytest.raises(SpecError, match="name it with --target"):
        opened("smoke", data=path)
    found = opened("smoke", data=path, target="n")
    assert [item.target for item in found.items] == ["1", "2"]
    assert found.notes[0].startswith("question: column 'stem'")
