"""Add items to a stored run: a higher limit asks only the items that are new.

The order of a split's items is fixed, so the items of a run with a lower limit are the first items
of a run with a higher one. The digest in ``run.json`` proves it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from archon.errors import UsageError
from archon.evals.benchmarks import Item
from archon.evals.folder import RunFolder
from archon.evals.run_spec import IDENTITY, items_digest


def continued(
    folder: RunFolder, wanted: Mapping[str, Any], items: Sequence[Item]
) -> dict[str, Any]:
    """Return the description under which the run in a folder continues as the wanted run.

    This is the stored description. If the stored items are the first of the wanted items, it has
    the wanted items and limit instead.

    Parameters
    ----------
    wanted
        The description of the wanted run.
    items
        The items of the wanted run.

    Raises
    ------
    UsageError
        The folder contains a different run, or a run with more items.
    """
    stored, wanted = folder.read_description(), json.loads(json.dumps(wanted))
    if not _begins_with(stored.get("items"), wanted["items"], items):
        _check_not_fewer(folder, stored, wanted)
        folder.check_identity(wanted, IDENTITY)
        return stored
    grown = {**stored, "items": wanted["items"], "limit": wanted["limit"]}
    folder.check_same({p: grown.get(p) for p in IDENTITY}, {p: wanted[p] for p in IDENTITY})
    return grown


def _begins_with(stored: Any, wanted: Mapping[str, Any], items: Sequence[Item]) -> bool:
    """Return whether the stored items are the first of the wanted items, which are more."""
    if not isinstance(stored, Mapping) or stored.get("split") != wanted["split"]:
        return False
    count = stored.get("count")
    if not isinstance(count, int) or not 0 < count < len(items):
        return False
    with_rows = wanted.get("with_rows", False)
    return bool(stored.get("digest") == items_digest(items[:count], with_rows))


def _check_not_fewer(
    folder: RunFolder, stored: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    """Check that the stored run does not differ from the wanted one only by having more items."""
    items = stored.get("items")
    count = items.get("count") if isinstance(items, Mapping) else None
    if not isinstance(count, int) or count <= wanted["items"]["count"]:
        return
    same = (key for key in IDENTITY if key != "items")
    if all(stored.get(key) == wanted[key] for key in same):
        raise UsageError(
            f"{folder.path} contains another run, which cannot be resumed as this one:\n"
            f"  $.items.count: {count} stored, {wanted['items']['count']} now\n"
            f"a run can get more items, not fewer; set --limit to at least {count}, or choose "
            "another folder for the output"
        )
