"""Data sets of the hub, with fakes of the libraries: nothing is downloaded."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from archon import api
from archon.errors import ModelError, SpecError
from archon.evals.benchmarks import SPLITS, load_items
from archon.evals.benchmarks import huggingface as source
from archon.spec.reader import load_benchmark

GSM8K = load_benchmark("gsm8k")


def rows(name: str, count: int) -> list[dict[str, str]]:
    return [{"question": f"{name} {n}?", "answer": f"So\n#### {n}"} for n in range(count)]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A hub that can be reached and holds the data set ``hub.data``."""
    hub = SimpleNamespace(data={"train": rows("train", 20), "test": rows("test", 5)}, asked=[])

    def load_dataset(*args: Any, **kwargs: Any) -> Any:
        hub.asked.append((args, kwargs))
        if isinstance(hub.data, Exception):
            raise hub.data
        return hub.data(*args) if callable(hub.data) else hub.data

    datasets, constants = ModuleType("datasets"), ModuleType("huggingface_hub.constants")
    datasets.load_dataset = load_dataset  # type: ignore[attr-defined]
    constants.HF_HUB_OFFLINE = False  # type: ignore[attr-defined]
    constants.ENDPOINT = "https://hub.example"  # type: ignore[attr-defined]
    hub.constants = constants
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", constants)
    monkeypatch.setattr(source, "probe", lambda endpoint: None)
    return hub


def load(split: str) -> list[Any]:
    return load_items(GSM8K.spec, GSM8K.base_dir, split)


def test_gsm8k_tests_on_the_test_set_and_divides_the_training_set(hub: SimpleNamespace) -> None:
    search, select, test = load("search"), load("select"), load("test")
    assert sorted(item.question for item in test) == sorted(r["question"] for r in rows("test", 5))
    assert [len(search), len(select)] == [10, 10]
    assert sorted(item.question for item in search + select) == sorted(
        row["question"] for row in rows("train", 20)
    )
    assert search[0].id.startswith("train-")
    assert hub.asked[0] == (("openai/gsm8k", "main"), {"revision": "main"})


def test_a_training_question_that_is_also_a_test_question_is_skipped(hub: SimpleNamespace) -> None:
    hub.data["train"].append(hub.data["test"][0])
    assert len(load("test")) == 5
    assert len(load("search")) + len(load("select")) == 20


def test_a_row_without_a_target_names_data_set_split_and_row(hub: SimpleNamespace) -> None:
    hub.data["test"][3]["answer"] = "none"
    with pytest.raises(SpecError, match=r"openai/gsm8k test\[3\]: "):
        load("test")


def test_a_split_that_the_data_set_lacks_is_an_error(hub: SimpleNamespace) -> None:
    del hub.data["test"]
    with pytest.raises(SpecError, match="no split 'test'"):
        load("test")


def test_a_hub_out_of_reach_is_not_asked_and_the_error_names_data(
    hub: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(endpoint: str) -> None:
        raise ModelError(f"{endpoint} is out of reach")

    monkeypatch.setattr(source, "probe", unreachable)
    with pytest.raises(SpecError, match=r"out of reach.*--data PATH.*HF_HUB_OFFLINE"):
        load("test")
    assert not hub.asked


def test_offline_the_cache_is_used_without_asking_the_hub(
    hub: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.constants.HF_HUB_OFFLINE = True
    monkeypatch.setattr(source, "probe", lambda endpoint: pytest.fail("asked"))
    assert len(load("test")) == 5


@pytest.mark.parametrize("error", [ConnectionError("gone\nlong story"), ValueError("no config")])
def test_a_failing_library_becomes_one_line(hub: SimpleNamespace, error: Exception) -> None:
    hub.data = error
    with pytest.raises(SpecError, match=r"^openai/gsm8k: (gone|no config); .*--data"):
        load("test")


class GatedRepoError(OSError):
    """As the hub's client calls it."""

    server_message = "Access to dataset openai/gsm8k is restricted."


def test_a_gated_data_set_is_reported_with_the_hubs_message(hub: SimpleNamespace) -> None:
    hub.data = FileNotFoundError("Couldn't find any data file")
    hub.data.__cause__ = GatedRepoError("403 Client Error.")
    with pytest.raises(SpecError) as caught:
        load("test")
    for text in (
        "is restricted",
        "https://hub.example/datasets/openai/gsm8k",
        "HF_TOKEN",
        "--data",
    ):
        assert text in str(caught.value)


# ------------------------------------------------------------------------------------ hub strings


def test_a_hub_string_uses_only_its_split_and_divides_it(hub: SimpleNamespace) -> None:
    found = api.benchmark("hf:owner/sums/main@v1:test", split="all")
    assert [item.id for item in found.items] == [f"test-{n}" for n in range(5)]
    assert [item.target for item in found.items] == [str(n) for n in range(5)]
    assert {(call[0], call[1]["revision"]) for call in hub.asked} == {
        (("owner/sums", "main"), "v1")
    }
    assert found.selection.card.name == "sums-main"
    assert len(api.benchmark("hf:owner/sums:test", split="test").items) == 2


def test_a_hub_string_without_a_split_uses_the_splits_of_the_data_set(hub: SimpleNamespace) -> None:
    hub.data["validation"] = rows("validation", 4)
    sizes = {split: len(api.benchmark("hf:a/b", split=split).items) for split in SPLITS}
    assert sizes == {"search": 20, "select": 4, "test": 5}
    found = api.benchmark("hf:a/b", split="all")
    assert len(found.items) == 29
    assert found.notes[0].endswith(
        "search from 'train', select from 'validation', test from 'test'"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hf:name", "is not of the form hf:owner/name"),
        ("hf:a/b:dev", "there is no split 'dev'"),
    ],
)
def test_a_wrong_hub_string_is_explained(hub: SimpleNamespace, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        api.benchmark(text)


def test_a_card_may_join_configurations_and_take_splits_from_elsewhere(
    hub: SimpleNamespace,
) -> None:
    card = {
        "version": 1,
        "name": "joined",
        "source": {
            "huggingface": {
                "repo": "a/b",
                "configs": ["x", "y"],
                "splits": {
                    "search": {"repo": "c/d", "split": "train"},
                    "select": {"split": "train", "config": "x"},
                    "test": "test",
                },
            }
        },
        "answer_after": "####",
    }
    hub.data = lambda repo, config: {
        "train": rows(f"{repo} train", 3),
        "test": rows(f"{repo} {config}", 2),
    }
    found = {split: api.benchmark(card, split=split).items for split in SPLITS}
    assert {item.id.rpartition("-")[0] for item in found["search"]} == {"d-train"}
    assert {item.id for item in found["test"]} == {"x-test-0", "x-test-1", "y-test-0", "y-test-1"}
    assert {item.metadata["config"] for item in found["test"]} == {"x", "y"}
