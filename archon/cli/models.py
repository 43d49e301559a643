"""``archon models``: model cards of the catalogue, other models, and their weights here."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon import weights
from archon.cli import completers
from archon.cli.console import ResultPrinter, emit, megabytes, print_line
from archon.cli.options import command
from archon.cli.weights import local_card
from archon.cli.weights import pull as pull_with_progress
from archon.errors import MissingExtraError, ModelError
from archon.spec import catalog
from archon.spec.model import HubSource, LocalCard, ModelCard, OpenAICard, PathSource
from archon.spec.providers import missing_address
from archon.spec.reader import Loaded, load_model_card

if TYPE_CHECKING:
    from archon.lm.model_facts import ModelFacts
    from archon.weights.hub_records import HubRecord

_THINKING = {
    "switchable": "can be switched on and off",
    "always": "always",
    "none": "not in the chat template",
}


@command
def ls(as_json: bool) -> None:
    """List the catalogue's model cards and other models downloaded from the hub.

    Also show which weights are on this machine and, for other models of the hub, the digest
    that was recorded at the first download.
    """
    from archon.weights.hub_records import all_recorded

    shipped = [_row(load_model_card(name)) for name in catalog.names("model")]
    others = [_recorded_row(record) for record in all_recorded()]
    if as_json:
        emit({"models": [*shipped, *others]})
        return
    from rich.table import Table

    table = Table("name", "backend", "weights", "", "description", box=None)
    for row in shipped:
        table.add_row(row["name"], row["backend"], *_size_and_place(row), row["description"])
    out = ResultPrinter()
    out.table(table)
    if others:
        table = Table("model of the hub", "weights", "", "commit", "sha256", box=None)
        for row in others:
            digests = row["commit"][:12], row["sha256"][:16]
            table.add_row(row["name"], *_size_and_place(row), *digests)
        out.line("")
        out.table(table)


def _size_and_place(row: dict[str, Any]) -> tuple[str, str]:
    return megabytes(row["bytes"]) if row["bytes"] else "", "on disk" if row["path"] else ""


@command
@click.argument("name", shell_complete=completers.names("model"))
def pull(name: str, as_json: bool) -> None:
    """Download a model's weights and verify their SHA-256 digest.

    NAME is a name in the catalogue, a path, or a string such as hf:OWNER/NAME. Weights that are
    already on this machine are verified again. For a hub model whose card states no digest, the
    digest is recorded at the first download.
    """
    from archon.weights.cache import read_record
    from archon.weights.digest import digest_of
    from archon.weights.model_files import num_bytes_of
    from archon.weights.progress import silent

    loaded = load_model_card(name)
    card = local_card(loaded)
    try:
        path = pull_with_progress(card, loaded.base_dir, verify=True)
    except ModelError as error:
        if loaded.origin:
            error.name_card(loaded.origin)
        raise
    record = read_record(card.name)
    is_recorded = record is not None and record.path == str(path.absolute())
    sha256 = record.sha256 if record and is_recorded else digest_of(path, silent)
    num_bytes = num_bytes_of(path)
    result = {"name": card.name, "path": str(path), "sha256": sha256, "bytes": num_bytes}
    if as_json:
        emit(result)
    else:
        ResultPrinter().line(f"{path}\n{megabytes(num_bytes)}, sha256 {sha256}")


@command
@click.argument("name", shell_complete=completers.names("model"))
def show(name: str, as_json: bool) -> None:
    """Print a model card and facts about the model, without downloading weights.

    NAME is a name in the catalogue, a path, or a string such as hf:OWNER/NAME or openai:NAME. Facts
    about a model that is not on this machine come from the Hugging Face hub.
    """
    loaded = load_model_card(name)
    spec: ModelCard = loaded.spec
    card = spec.model_dump(mode="json", exclude_none=True)
    if card.get("base_urls") == []:  # so that the saved card reads the variable when it is used
        del card["base_urls"]
    path, facts, note = None, None, ""
    if isinstance(spec, LocalCard):
        path = _place(spec, loaded.base_dir)
        facts, note = _facts(spec, loaded.base_dir, path)
    if as_json:
        emit({"card": card, "path": path and str(path), **_facts_json(facts, note)})
        return
    print(json.dumps(card, indent=2, ensure_ascii=False))
    if isinstance(spec, LocalCard):
        _print_facts(facts, note, is_here=path is not None)
        print_line(f"weights: {path or 'not on this machine'}")
    elif isinstance(spec, OpenAICard):
        _print_server(spec)


def _place(card: LocalCard, base_dir: Path) -> Path | None:
    """Return the path of a card's weights, also of those that another program downloaded."""
    from archon.weights import hub

    path = weights.find_anywhere(card, base_dir)
    for source in card.sources:
        if path is None and isinstance(source, HubSource):
            with contextlib.suppress(MissingExtraError):
                path = hub.present(source)
    return path


def _facts(card: LocalCard, base_dir: Path, path: Path | None) -> tuple[ModelFacts | None, str]:
    """Return what is known about a local model, and why something is not."""
    from archon.lm.model_facts import facts_of_files, facts_of_repository
    from archon.weights import hub

    if card.transformer != "decoder":
        return None, ""
    try:
        if path is not None:
            return _with_license(facts_of_files(path, card.precision), card), ""
        for source in card.sources:
            if isinstance(source, HubSource):
                repository = hub.ask(source, with_config=True)
                file = repository.model_file(source.file)
                return _with_license(
                    facts_of_repository(repository, file, card.precision), card
                ), ""
    except (ModelError, MissingExtraError, OSError) as error:
        return None, str(error)
    paths = [weights.resolve(s, base_dir) for s in card.sources if isinstance(s, PathSource)]
    if len(paths) == len(card.sources):
        return None, f"{paths[0]} does not exist"
    return None, "the weights are not on this machine"


def _with_license(facts: ModelFacts, card: LocalCard) -> ModelFacts:
    """Add the license that the card states, or that the hub stated at the first download."""
    from dataclasses import replace

    from archon.weights.hub_records import recorded

    license = card.license or facts.license
    for source in card.sources:
        if not license and isinstance(source, HubSource) and (first := recorded(source)):
            license = first.license
    return replace(facts, license=license or None)


def _facts_json(facts: ModelFacts | None, note: str) -> dict[str, Any]:
    from archon.lm.model_facts import SEQUENCE_TOKENS, ModelFacts

    known = facts or ModelFacts()
    memory = known.memory_bytes
    result: dict[str, Any] = {
        "family": known.family,
        "parameters": known.parameters,
        "bytes": known.bytes,
        "context": known.context,
        "memory_bytes": None if memory is None else {str(n): size for n, size in memory.items()},
        "weights_memory_bytes": known.weights_memory_bytes,
        "sequence_tokens": SEQUENCE_TOKENS,
        "license": known.license,
        "chat_template": known.chat_template,
        "thinking": known.thinking,
        "text_only": known.is_text_part,
    }
    return result | ({"note": note} if note else {})


def _print_facts(facts: ModelFacts | None, note: str, *, is_here: bool) -> None:
    from archon.lm.model_facts import SEQUENCE_TOKENS

    if facts is None:
        if note:
            print_line(f"family, size and memory are unknown: {note}", "yellow")
        return
    size = [f"{facts.parameters / 1e6:,.0f} million parameters"] if facts.parameters else []
    size += [megabytes(facts.bytes)] if facts.bytes else []
    lines = {
        "family": facts.family,
        "size": ", ".join(size),
        "context": f"{facts.context:,} tokens" if facts.context else None,
        "license": facts.license,
        "chat template": "yes" if facts.chat_template else "no" if is_here else None,
        "thinking": _THINKING.get(facts.thinking or ""),
        "memory": None,
    }
    if facts.memory_bytes is not None:
        figures = [f"{megabytes(size)} at {n}" for n, size in facts.memory_bytes.items()]
        lines["memory"] = f"about {', '.join(figures)} sequences of {SEQUENCE_TOKENS:,} tokens"
    elif facts.weights_memory_bytes is not None:
        least = megabytes(facts.weights_memory_bytes)
        lines["memory"] = f"at least {least} for the weights, and the cache of the sequences"
    if facts.is_text_part:
        lines["input"] = "text only; images, video and sound are not supported"
    unknown = "unknown" if is_here else "unknown before the download"
    for name, value in lines.items():
        print_line(f"{name}: {value or unknown}")


def _print_server(card: OpenAICard) -> None:
    if card.base_urls:
        print_line(f"server: {', '.join(card.base_urls)}")
    elif card.provider is not None:
        print_line(missing_address(card.provider), "yellow")
    if card.model is None:
        print_line("model: the only one of the server, which is asked when the model is opened")
    if card.api_key_env is not None:
        is_set = bool(os.environ.get(card.api_key_env, "").strip())
        print_line(f"key: {card.api_key_env}, {'set' if is_set else 'not set'}")


@command
@click.argument("name", shell_complete=completers.names("model"))
def rm(name: str, as_json: bool) -> None:
    """Delete a model's weights from Archon's cache.

    NAME is a name in the catalogue, a path, or a string such as hf:OWNER/NAME. Files in the Hugging
    Face cache are kept. For a hub model, the digest that was recorded at the first download is
    deleted too, so the next download is accepted even if the files have changed.
    """
    loaded = load_model_card(name)
    card = local_card(loaded)
    freed = weights.remove(card)
    remaining = weights.find_anywhere(card, loaded.base_dir)
    if as_json:
        path = str(remaining) if remaining else None
        emit({"name": card.name, "freed_bytes": freed, "path": path})
        return
    ResultPrinter().line(
        f"{card.name}: freed {megabytes(freed)}" if freed else f"{card.name}: nothing to delete"
    )


def _recorded_row(record: HubRecord) -> dict[str, Any]:
    return {
        "name": f"hf:{record.name}",
        "backend": "local",
        "description": f"first downloaded on {record.date}",
        "bytes": record.bytes,
        "path": record.path if Path(record.path).exists() else None,
        "sha256": record.sha256,
        "commit": record.commit,
    }


def _row(loaded: Loaded[Any]) -> dict[str, Any]:
    card: ModelCard = loaded.spec
    local = card if isinstance(card, LocalCard) else None
    path = weights.find_anywhere(local, loaded.base_dir) if local else None
    return {
        "name": card.name,
        "backend": card.backend,
        "description": card.description,
        "bytes": local.bytes if local else None,
        "path": str(path) if path else None,
        "sha256": next((s.sha256 for s in local.sources if s.sha256), None) if local else None,
    }
