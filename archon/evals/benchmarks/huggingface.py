"""Load items from a data set on the Hugging Face hub, using the ``datasets`` library."""

from __future__ import annotations

from typing import Any

from archon.errors import ModelError, SpecError, require
from archon.evals.benchmarks.items import SPLITS, Item, Split, check_ids, divide, item_from_row
from archon.spec.benchmark import BenchmarkCard, HubData
from archon.spec.messages import suggestion
from archon.weights.hub import probe
from archon.weights.hub_child import describe
from archon.weights.hub_errors import Wanted, explain


def load(source: HubData, card: BenchmarkCard, split: Split) -> list[Item]:
    """Load the items of a split.

    No question is in two splits. A question that occurs in several of the hub's splits goes to
    *test* if it is in the hub split for *test*, and to *select* otherwise.

    Raises
    ------
    SpecError
        The hub is unreachable, the data set or its split does not exist, or a row is invalid.
    MissingExtraError
        The ``datasets`` library is not installed.
    """
    data = _fetch(source)
    taken: set[str] = set()
    for name in dict.fromkeys(getattr(source.splits, ours) for ours in reversed(SPLITS)):
        items = [
            item_from_row(row, card, f"{name}-{number}", f"{source.repo} {name}[{number}]")
            for number, row in enumerate(_rows(data, name, source))
        ]
        check_ids(items, f"{source.repo} {name}")
        users = [ours for ours in SPLITS if getattr(source.splits, ours) == name]
        divided = divide([item for item in items if item.question not in taken], users)
        if split in divided:
            return divided[split]
        taken.update(item.question for item in items)
    raise AssertionError("a card names a hub split for every split")


def _rows(data: Any, name: str, source: HubData) -> Any:
    if name not in data:
        raise SpecError(f"there is no split {name!r}{suggestion(name, data)}", file=source.repo)
    return data[name]


def _fetch(source: HubData) -> Any:
    """Load all splits of the data set; if ``HF_HUB_OFFLINE`` is set, only from the cache."""
    datasets = require("datasets", "evals")
    constants = require("huggingface_hub.constants", "evals")
    try:
        if not constants.HF_HUB_OFFLINE:
            probe(constants.ENDPOINT)
        return datasets.load_dataset(source.repo, source.config, revision=source.revision)
    except Exception as error:  # any error of the library, pyarrow's included
        if isinstance(error, ModelError):
            reason = str(error)
        else:
            wanted = Wanted(source.repo, constants.ENDPOINT, "dataset", revision=source.revision)
            reason = explain(describe(error), wanted)
        hint = "pass the items as a JSONL file with --data PATH"
        if not constants.HF_HUB_OFFLINE:
            hint += ", or set HF_HUB_OFFLINE=1 to use a cached copy"
        raise SpecError(f"{reason}; {hint}", file=source.repo) from error
