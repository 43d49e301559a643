"""What reads files, each with a sound file to start from and a way to damage it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from mutations import mutated, mutated_json
from tiny_folders import write_folder
from tiny_models import CHAT_TEMPLATE, TinyModel, write_gguf

import archon
from archon.convert import convert
from archon.engine.loading import load_decoder, open_model
from archon.engine.model.weights import weights_of
from archon.lm.local.chat import ChatFormat
from archon.lm.local.template import ChatTemplate, TemplateError
from archon.lm.local.tokenizer import TextTokenizer, read_tokenizer_config
from archon.spec.reader import load_benchmark, load_model_card
from archon.spec.strict_json import read_json
from archon.types import Message

ROOT = Path(__file__).parents[2]
SMALL = TinyModel("qwen2", width=8, ffn_width=8, num_layers=1, num_heads=2, num_kv_heads=1)
_MESSAGES = (Message("system", "Be brief."), Message("user", "What is 17 * 23?"))
_CHAT = [{"role": m.role, "content": m.content} for m in _MESSAGES]

_TEMPLATE_WORDS = (
    b"{{", b"}}", b"{%", b"%}", b"{% for i in range(99999) %}", b"{% endfor %}", b" * 10**9",
    b"messages", b"|tojson", b"|length", b".__class__", b"{% set x = x ~ x %}", b"{% macro f() %}",
    b"(" * 300, b"loop.", b"|map(attribute='__init__')", b"|join", b"|list", b"~",
    b"'%99999999d' %",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One kind of file: ``damage`` writes a bad one into a folder, ``read`` uses what is there."""

    damage: Callable[[Random, Path], None]
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...] = (archon.ArchonError,)


def targets(folder: Path) -> dict[str, Target]:
    """Every target by name; what they start from is written into ``folder``."""
    folder.mkdir(exist_ok=True)
    return {
        "gguf": _gguf(folder),
        "safetensors": _folder(folder),
        "architecture": _json("architecture", "architectures", archon.load),
        "model": _json("model", "models", load_model_card),
        "benchmark": _json("benchmark", "benchmarks", load_benchmark),
        "layered": _layered(),
        "template": _template(),
        "journal": _journal(folder),
    }


# ------------------------------------------------------------------------------------- weights


def _use_model(path: Path) -> None:
    file = open_model(path)
    decoder_weights = weights_of(file)
    rules = read_tokenizer_config(file)
    ChatFormat(rules, TextTokenizer(rules)).encode(_MESSAGES)
    load_decoder(decoder_weights, "float32", torch.device("cpu"))


def _gguf(folder: Path) -> Target:
    path = folder / "sound.gguf"
    write_gguf(path, SMALL)
    content = path.read_bytes()
    words = (b"general.alignment", b"tokenizer.ggml.pre", b"blk.0.", b"GGUF")

    def damage(rng: Random, place: Path) -> None:
        # Headers are what can mislead: damage within the tensors' bytes changes numbers alone.
        header = content[: rng.choice((200, 2000, len(content)))]
        (place / "model.gguf").write_bytes(mutated(header, rng, words) + content[len(header) :])

    return Target(damage, lambda place: _use_model(place / "model.gguf"))


def _folder(folder: Path) -> Target:
    sound = write_folder(folder / "sound", SMALL)
    files = {path.name: path.read_bytes() for path in sound.iterdir()}

    def damage(rng: Random, place: Path) -> None:
        broken = rng.choice(sorted(files))
        model = place / "model"
        model.mkdir(exist_ok=True)
        for name, content in files.items():
            if name == broken:
                content = _damaged(name, content, rng)
            (model / name).write_bytes(content)

    return Target(damage, lambda place: _use_model(place / "model"))


def _damaged(name: str, content: bytes, rng: Random) -> bytes:
    if name.endswith(".json"):
        return (
            mutated_json(json.loads(content), rng) if rng.random() < 0.8 else mutated(content, rng)
        )
    if not name.endswith(".safetensors"):
        return mutated(content, rng, _TEMPLATE_WORDS)
    size = int.from_bytes(content[:8], "little")
    header, rest = content[8 : 8 + size], content[8 + size :]
    if rng.random() < 0.2:
        return mutated(content[: 8 + size], rng) + rest
    header = mutated_json(json.loads(header), rng) if rng.random() < 0.7 else mutated(header, rng)
    return len(header).to_bytes(8, "little") + header + rest


# --------------------------------------------------------------------------------------- cards


def _json(name: str, shipped: str, read: Callable[[Path], object]) -> Target:
    sound = [json.loads(path.read_text()) for path in sorted((ROOT / shipped).glob("*.json"))]

    def damage(rng: Random, place: Path) -> None:
        data = rng.choice(sound)
        content = mutated_json(data, rng)
        if rng.random() < 0.2:
            content = mutated(json.dumps(data).encode(), rng)
        (place / f"{name}.json").write_bytes(content)

    return Target(damage, lambda place: read(place / f"{name}.json"))


def _layered() -> Target:
    generator = {"type": "generator", "model": "gpt-4o", "model_type": "OpenAI_API", "samples": 5,
                 "top_k": 1, "temperature": 0.7, "max_tokens": 2048, "checkpoint": ""}  # fmt: skip
    fuser = generator | {"type": "fuser", "samples": 1}
    layers = [[generator, generator], [generator | {"type": "ranker", "top_k": 3}], [fuser]]
    sound = {"name": "layered", "layers": layers}

    def damage(rng: Random, place: Path) -> None:
        (place / "layered.json").write_bytes(mutated_json(sound, rng))

    def read(place: Path) -> object:
        return convert(read_json(place / "layered.json"))

    return Target(damage, read)


# ----------------------------------------------------------------------------------- templates


def _template() -> Target:
    chatml = CHAT_TEMPLATE.encode()

    def damage(rng: Random, place: Path) -> None:
        (place / "template.jinja").write_bytes(mutated(chatml, rng, _TEMPLATE_WORDS))

    def read(place: Path) -> object:
        source = (place / "template.jinja").read_bytes().decode("utf-8", "replace")
        values = {"messages": _CHAT, "add_generation_prompt": True, "bos_token": ""}
        return ChatTemplate(source).render_all([values])

    return Target(damage, read, (TemplateError,))


# ------------------------------------------------------------------------------------ journals


def _journal(folder: Path) -> Target:
    run = folder / "run"
    if not run.exists():
        architecture = archon.load("self-consistency", models={"solver": "scripted"})
        archon.evaluate(architecture, "smoke", limit=3, output=run)
    description, lines = (
        (run / "run.json").read_bytes(),
        (run / "journal").read_bytes().splitlines(),
    )

    def damage(rng: Random, place: Path) -> None:
        (place / "run.json").write_bytes(description)
        (place / "journal").write_bytes(b"".join(line + b"\n" for line in lines))
        match rng.randrange(4):
            case 0:
                journal = b"\n".join(lines)
                (place / "journal").write_bytes(mutated(journal, rng))
            case 1:
                (place / "run.json").write_bytes(mutated_json(json.loads(description), rng))
            case _:
                payload = rng.choice(lines).split(b" ", 2)[2]
                parts = payload.split(b"\t")
                which = rng.randrange(len(parts))
                parts[which] = mutated_json(json.loads(parts[which]), rng)
                payload = b"\t".join(parts) if rng.random() < 0.8 else mutated(payload, rng)
                line = b"%d %08x %b\n" % (len(payload), zlib.crc32(payload), payload)
                (place / "journal").write_bytes(lines[0] + b"\n" + line)

    def read(place: Path) -> Any:
        found = archon.read_run(place)
        found.report()
        return [entry.trace for entry in found.sorted_entries()]

    return Target(damage, read)
