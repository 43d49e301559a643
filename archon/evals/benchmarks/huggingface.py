"""Load items from a data set on the Hugging Face hub, using the ``datasets`` library."""

from __future__ import annotations

from typing import Any, NamedTuple

from archon.errors import ModelError, SpecError, require
from archon.evals.benchmarks.items import SPLITS, Item, Split, check_ids, divide
from archon.evals.benchmarks.plain import plain
from archon.evals.benchmarks.rows import items_from_rows
from archon.evals.benchmarks.tables import Row
from archon.spec.benchmark import BenchmarkBase, HubData
from archon.spec.messages import suggestion
from archon.weights.hub import probe
from archon.weights.hub_child import describe
from archon.weights.hub_errors import Wanted, explain


class _Part(NamedTuple):
    """A split of a data set on the hub, in one or several configurations."""

    repo: str
    configs: tuple[str | None, ...]
    revision: str
    split: str


def load(source: HubData, card: BenchmarkBase, split: Split) -> list[Item]:
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
    parts = {ours: _part(source, ours) for ours in SPLITS}
    fetched: dict[tuple[str, str | None, str], Any] = {}
    taken: set[str] = set()
    for part in dict.fromkeys(parts[ours] for ours in reversed(SPLITS)):
        items = items_from_rows(_rows(part, fetched, source), card)
        check_ids(items, f"{part.repo} {part.split}")
        users = [ours for ours in SPLITS if parts[ours] == part]
        divided = divide([item for item in items if item.question not in taken], users)
        if split in divided:
            return divided[split]
        taken.update(item.question for item in items)
    raise AssertionError("a card names a hub split for every split")


def first_rows(source: HubData, split: Split) -> list[Row]:
    """Return the rows of a split of the hub from which a benchmark split is taken.

    Raises the same errors as ``load``.
    """
    return _rows(_part(source, split), {}, source)


def split_names(source: HubData) -> list[str]:
    """Return the names of the data set's splits on the hub; raises the same errors as ``load``."""
    return list(fetch(source.repo, source.config, source.revision))


def _part(source: HubData, ours: Split) -> _Part:
    given = getattr(source.splits, ours)
    configs: tuple[str | None, ...] = tuple(source.configs or [source.config])
    if isinstance(given, str):
        return _Part(source.repo, configs, source.revision, given)
    repo = given.repo or source.repo
    if given.config is not None or repo != source.repo:
        configs = (given.config,)
    revision = given.revision or (source.revision if repo == source.repo else "main")
    return _Part(repo, configs, revision, given.split)


def _rows(
    part: _Part, fetched: dict[tuple[str, str | None, str], Any], source: HubData
) -> list[Row]:
    """Return the rows of a split, with ids such as ``test-7`` that are unique in the benchmark."""
    rows = []
    prefix = "" if part.repo == source.repo else f"{part.repo.rpartition('/')[2]}-"
    for config in part.configs:
        key = (part.repo, config, part.revision)
        if key not in fetched:
            fetched[key] = fetch(*key)
        if part.split not in fetched[key]:
            hint = suggestion(part.split, fetched[key])
            raise SpecError(f"there is no split {part.split!r}{hint}", file=part.repo)
        several = len(part.configs) > 1
        start = f"{prefix}{config}-{part.split}" if several else f"{prefix}{part.split}"
        place = f"{part.repo} {config} {part.split}" if several else f"{part.repo} {part.split}"
        extra = {"config": config} if several else {}
        rows += [
            Row(f"{start}-{number}", f"{place}[{number}]", extra | plain(row))
            for number, row in enumerate(fetched[key][part.split])
        ]
    return rows


def fetch(repo: str, config: str | None, revision: str) -> Any:
    """Load all splits of a data set; if ``HF_HUB_OFFLINE`` is set, only from the cache.

    Raises
    ------
    SpecError
        The hub is unreachable, or the data set cannot be loaded; the error has the hub's reason.
    MissingExtraError
        The ``datasets`` library is not installed.
    """
    datasets = require("datasets", "evals")
    constants = require("huggingface_hub.constants", "evals")
    try:
        if not constants.HF_HUB_OFFLINE:
            probe(constants.ENDPOINT)
        return datasets.load_dataset(repo, config, revision=revision)
    except Exception as error:  # any error of the library, pyarrow's included
        if isinstance(error, ModelError):
            reason = str(error)
        else:
            wanted = Wanted(repo, constants.ENDPOINT, "dataset", revision=revision)
            reason = explain(describe(error), wanted)
        hint = "pass the items as a file with --data PATH"
        if not constants.HF_HUB_OFFLINE:
            hint += ", or set HF_HUB_OFFLINE=1 to use a cached copy"
        raise SpecError(f"{reason}; {hint}", file=repo) from error
