"""Which layers an adapter's configuration names, as peft reads it.

Modules are listed by the ends of their names, or described by one regular expression; ranks and
alphas of single layers stand under expressions, too. The files are somebody else's, and an
expression can keep Python busy for ever, so only those of bounded effort are evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archon.errors import ModelFileError

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_LONGEST_NAME, _MOST_REPEATS = 100, 8
_REPEAT = re.compile(r"[*+]|,\}")
_REPEATED_GROUP = re.compile(r"\)[*+{]")


def leaves_out(config: Mapping[str, Any], name: str, file: Path) -> bool:
    """Whether peft would not load a layer's tensors, as the configuration does not name it.

    Raises
    ------
    ModelFileError : an expression cannot be evaluated.
    """
    targets, excluded = config.get("target_modules"), config.get("exclude_modules")
    if excluded and _is_named(name, excluded, file):
        return True
    if targets and targets != "all-linear" and not _is_named(name, targets, file):
        return True
    layers = config.get("layers_to_transform")
    if layers is None or layers == []:
        return False
    index = _LAYER.search(name)
    return index is None or int(index[1]) not in (layers if isinstance(layers, list) else [layers])


def first_match(patterns: Mapping[str, Any], name: str, file: Path) -> str | None:
    """The first pattern that a layer's name is, or ends in after a dot.

    Raises
    ------
    ModelFileError : an expression cannot be evaluated.
    """
    return next((p for p in patterns if _matches(rf"(?:.*\.)?(?:{p})", name, file)), None)


def _is_named(name: str, modules: object, file: Path) -> bool:
    if isinstance(modules, str):
        return _matches(modules, name, file)
    listed = modules if isinstance(modules, list) else []
    return any(name == module or name.endswith(f".{module}") for module in listed)


def _matches(pattern: str, name: str, file: Path) -> bool:
    if len(_REPEAT.findall(pattern)) > _MOST_REPEATS + 1 or _REPEATED_GROUP.search(pattern):
        raise ModelFileError(f"{file}: the expression {pattern!r} repeats too much to be evaluated")
    try:
        return len(name) <= _LONGEST_NAME and re.fullmatch(pattern, name) is not None
    except (re.error, RecursionError) as error:
        raise ModelFileError(f"{file}: {pattern!r} is no regular expression: {error}") from None
