"""The pool's file: size limit, damage, full disks, several processes, and killed processes."""

from __future__ import annotations

import logging
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from pool_doubles import LARGE, completion, new, noise

from archon.errors import UsageError
from archon.lm.pool import DrawPool, ModelDraws, clear, completion_codec, contents
from archon.lm.pool.store import SampleStore, damaged_path
from archon.types import Completion, TokenLogprob, Usage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "draws.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SampleStore]:
    store = SampleStore(path, LARGE)
    yield store
    store.close()


def numbers(store: SampleStore, most: int = 2000) -> list[int]:
    """Numbers of the stored samples."""
    found = store.get([new(number).key for number in range(most)])
    return sorted(int.from_bytes(key, "big") for key in found)


# -------------------------------------------------------------------------------------- payload


def test_a_completion_is_unchanged_after_encoding_and_decoding() -> None:
    for made in (
        completion(3),
        Completion("", 0, "choices", Usage(choice_tokens=2), {}, choice_logprobs={"b": -1, "a": 0}),
        Completion("é\ud800\x00", 9, "length", Usage(), {}, (1, 2), (-0.1, float("-inf")), -1 / 3),
        Completion("", 0, "stop", Usage(), {}, (), ()),
        replace(completion(3), top_logprobs=((), (TokenLogprob(-1.0, 5, b"\xc3"),) * 2)),
        replace(completion(3), top_logprobs=((TokenLogprob(-0.5),),)),
    ):
        assert completion_codec.decode(completion_codec.encode(made)) == made


def test_invalid_bytes_are_refused() -> None:
    whole = completion_codec.encode(completion(1))
    for damaged in (b"", b"x", whole[:-5], whole[:20] + b"?" + whole[21:]):
        with pytest.raises(ValueError, match=r"not a stored sample|Expecting"):
            completion_codec.decode(damaged)


# ----------------------------------------------------------------------------------- size limit


def test_the_least_recently_used_samples_are_evicted(path: Path) -> None:
    clock = count()
    store = SampleStore(path, 100_000, clock=lambda: next(clock))
    for number in range(40):
        store.put([new(number, noise(number))])
    assert numbers(store) == list(range(40))
    store.get([new(number).key for number in range(10)])
    for number in range(100, 140):
        store.put([new(number, noise(number))])
    kept = numbers(store)
    assert set(range(10)) | set(range(120, 140)) <= set(kept)
    assert not set(range(10, 20)) & set(kept)
    store.close()
    assert path.stat().st_size <= 110_000


def test_the_file_stays_near_its_limit(path: Path) -> None:
    store, rng = SampleStore(path, 300_000), random.Random(2)
    for _ in range(150):
        draws = [new(rng.randrange(LARGE), noise(0, rng.randrange(10, 500))) for _ in range(20)]
        store.put(draws)
    store.close()
    assert path.stat().st_size < 330_000
    assert sum(held.bytes for held in contents(path).models) > 150_000


def test_totals_match_the_samples(store: SampleStore, path: Path) -> None:
    store.put([new(1), new(2), new(3, model="n")])
    store.put([new(2, "another, longer text"), new(3, model="m")])
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT model, count(*), sum(size) FROM draws GROUP BY model"
        rows = [ModelDraws(*row) for row in connection.execute(query)]
    assert contents(path).models == tuple(rows)
    assert contents(path).draws == 3


def test_the_last_sample_under_a_key_is_kept(store: SampleStore) -> None:
    store.put([new(1, "first"), new(1, "second")])
    store.put([new(1, "third")])
    store.put([new(1, "fourth", origin="p"), new(1, "fifth", origin="q")])
    [draw] = store.get([new(1).key]).values()
    assert (draw.completion.text, draw.origin) == ("fifth", "q")


@pytest.mark.parametrize("given", ["2GB", "-1", "1e9", "²"])
def test_an_invalid_limit_is_refused(
    given: str, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    monkeypatch.setenv("ARCHON_POOL_BYTES", given)
    with pytest.raises(UsageError, match="ARCHON_POOL_BYTES"):
        DrawPool(path)


# --------------------------------------------------------------------------------------- damage


def damage_everything(path: Path) -> None:
    path.write_bytes(b"no data base at all" * 1000)


def damage_the_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(0).randbytes(len(data) - 4096)
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10_000])


@pytest.mark.parametrize("damage", [damage_everything, damage_the_pages, cut])
@pytest.mark.parametrize("first", ["get", "put"])
def test_a_damaged_file_is_set_aside_and_replaced(
    path: Path, damage: object, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = SampleStore(path, LARGE)
    store.put([new(number, noise(number)) for number in range(100)])
    store.close()
    assert callable(damage)
    damage(path)
    store = SampleStore(path, LARGE)
    if first == "get":
        assert numbers(store) == []
    store.put([new(7)])
    assert numbers(store) == [7]
    store.close()
    assert damaged_path(path).exists()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "is damaged" in caplog.text
    clear(path)
    assert not damaged_path(path).exists()


def test_an_unreadable_sample_is_missing_until_it_is_stored_again(
    store: SampleStore, path: Path
) -> None:
    store.put([new(1), new(2)])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE draws SET payload = x'00' WHERE key = ?", (new(1).key,))
    assert numbers(store) == [2]
    store.put([new(1)])
    assert numbers(store) == [1, 2]


def test_a_deleted_file_is_created_again(
    store: SampleStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.put([new(1)])
    path.unlink()
    assert numbers(store) == []
    store.put([new(2)])
    assert contents(path).draws == 1
    assert not caplog.records


# ------------------------------------------------------------------------------- failing to write


def test_on_a_full_disk_stored_samples_are_still_found(
    store: SampleStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.put([new(1)])
    assert store._connection is not None
    store._connection.execute("PRAGMA max_page_count = 12")
    for number in range(100, 110):
        store.put([new(number, noise(number, 20_000))])
    assert 1 in numbers(store)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "full" in caplog.text


def test_a_folder_that_cannot_be_created_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    store = SampleStore(tmp_path / "file" / "draws.sqlite3", LARGE)
    assert numbers(store) == []
    store.put([new(1)])
    assert numbers(store) == []
    store.close()
    assert len(caplog.records) == 1


# ------------------------------------------------------------------------------- several processes

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from archon.lm.pool.store import SampleStore
from pool_doubles import LARGE, new, noise
store = SampleStore(Path(sys.argv[1]), LARGE)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    store.get([new(number).key])
    store.put([new(number, noise(number, 2000))])
    print(number, flush=True)
store.close()
"""


def writer(path: Path, start: int, stop: int) -> subprocess.Popen[str]:
    arguments = [str(path), str(start), str(stop), str(Path(__file__).parent)]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True
    )


def is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        [(verdict,)] = connection.execute("PRAGMA integrity_check")
        rows = connection.execute("SELECT count(*), sum(size) FROM draws").fetchall()
        totals = connection.execute("SELECT sum(draws), sum(bytes) FROM totals").fetchall()
    return verdict == "ok" and rows == totals


def test_several_processes_store_concurrently(path: Path) -> None:
    spans = [(0, 60), (30, 90), (60, 120)]
    processes = [writer(path, start, stop) for start, stop in spans]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert is_sound(path)
    store = SampleStore(path, LARGE)
    assert numbers(store) == list(range(120))
    store.close()


def test_samples_stored_before_a_process_was_killed_are_kept(path: Path) -> None:
    rng, stored = random.Random(3), 0
    for _ in range(4):
        process = writer(path, stored, 2000)
        assert process.stdout is not None
        with process.stdout as told:
            stored = int(told.readline())
            time.sleep(rng.random() * 0.05)
            process.send_signal(signal.SIGKILL)
            stored = max([stored, *map(int, told.read().split("\n")[:-1])]) + 1
        process.wait()
        store = SampleStore(path, LARGE)
        assert set(range(stored)) <= set(numbers(store))
        store.close()
        assert is_sound(path)


# ----------------------------------------------------------------------------------- maintenance


def test_a_pool_in_use_can_be_cleared(store: SampleStore, path: Path) -> None:
    store.put([new(number, noise(number)) for number in range(200)])
    before = path.stat().st_size
    freed = clear(path)
    assert freed == before - path.stat().st_size > before / 2
    assert contents(path).draws == 0
    store.put([new(1)])
    assert numbers(store) == [1]
    assert contents(path).models[0].draws == 1


def test_a_missing_file_is_not_created(path: Path) -> None:
    assert contents(path).draws == clear(path) == 0
    assert not path.exists()


def test_a_damaged_file_is_reported_and_cleared(path: Path) -> None:
    damage_everything(path)
    assert not contents(path).readable
    assert clear(path) == 19_000
    assert not path.exists()
