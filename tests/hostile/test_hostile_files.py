"""A short run of the fuzzer; ``fuzz.py`` makes long ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fuzz import case
from targets import Target, targets

NUM_CASES = 60
NAMES = ["gguf", "safetensors", "architecture", "model", "benchmark", "layered", "template",
         "journal"]  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return targets(tmp_path_factory.mktemp("sound") / "files")


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_one_of_our_errors(
    name: str, sound: dict[str, Target], tmp_path: Path
) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(NUM_CASES):
        place = tmp_path / str(seed)
        place.mkdir()
        outcomes[case(sound[name], seed, place)] += 1
    assert outcomes.total() > outcomes["sound"] > 0, "damage is found, and sound files are read"


def test_every_target_is_named(sound: dict[str, Target]) -> None:
    assert list(sound) == NAMES
