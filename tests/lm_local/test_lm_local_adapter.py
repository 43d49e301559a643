"""Cards with adapters share one engine, and each has its own samples and prompts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from archon.engine.loading import open_model
from archon.engine.model.config import config_of
from archon.engine.model.lora import Adapter
from archon.engine.model.lora_config import CONFIG_NAME, TENSORS_NAME, write_adapter
from archon.errors import ModelFileError, SpecError
from archon.lm.local import open_local
from archon.lm.local.lm import LocalLM
from archon.spec.model import LocalCard
from archon.types import Message, Request, SamplingParams

QUESTION = Request(
    (Message("user", "the answer is what?"),), sampling=SamplingParams(0.9, max_tokens=20)
)


@pytest.fixture
def folder(tmp_path: Path, tiny_chat_file: Path) -> Path:
    """A folder in which ``one`` and ``two`` are adapters of the tiny model."""
    width = config_of(open_model(tiny_chat_file)).width
    for seed, name in enumerate(("one", "two")):
        generator = torch.Generator().manual_seed(seed)
        a = torch.randn(2, width, generator=generator)
        b = torch.randn(width, 2, generator=generator)
        pairs = {"model.layers.0.self_attn.q_proj": (a, b)}
        write_adapter(Adapter(2, 4, pairs, 2.0), tmp_path / name, base="tiny")
    return tmp_path


def open_tiny(path: Path, base_dir: Path, adapter: str | None) -> LocalLM:
    card: dict[str, Any] = {"name": "tiny", "backend": "local", "sources": [{"path": str(path)}]}
    card |= {"precision": "float32", "adapter": adapter}
    lm = open_local(LocalCard.model_validate(card), base_dir)
    assert isinstance(lm, LocalLM)
    return lm


async def test_cards_share_one_engine_and_keep_their_own_samples(
    folder: Path, tiny_chat_file: Path
) -> None:
    lms = [open_tiny(tiny_chat_file, folder, name) for name in ("./one", "./two", None)]
    assert len({id(lm.worker) for lm in lms}) == 1
    together = await asyncio.gather(*(lm.generate(replace(QUESTION, n=2)) for lm in lms))
    assert len({completions[0].text for completions in together}) == 3
    assert len({name for completions in together for name in completions[0].prompts}) == 3
    assert len({lm.draw_key(QUESTION) for lm in lms}) == 3
    scores = [await lm.generate(replace(QUESTION, choices=("yes", "no"))) for lm in lms]
    assert len({score[0].choice_logprobs["yes"] for score in scores}) == 3  # type: ignore[index]
    for lm in lms[:2]:
        await lm.aclose()
    [last] = await lms[2].generate(QUESTION)  # the engine lives as long as anybody uses it
    assert last.text == together[2][0].text
    await lms[2].aclose()
    again = open_tiny(tiny_chat_file, folder, "./one")
    assert again.worker is not lms[0].worker
    [alone] = await again.generate(QUESTION)
    assert alone.text == together[0][0].text
    await again.aclose()


def test_an_invalid_adapter_is_reported(folder: Path, tiny_chat_file: Path) -> None:
    with pytest.raises(ModelFileError, match=r"three: the file .* of the adapter is missing"):
        open_tiny(tiny_chat_file, folder, "./three")
    with pytest.raises(SpecError, match="ships no adapter named 'three'"):
        open_tiny(tiny_chat_file, folder, "three")
    other = Adapter(1, 1, {"model.layers.9.mlp.up_proj": (torch.ones(1, 4), torch.ones(4, 1))}, 1)
    write_adapter(other, folder / "other", base="other")
    with pytest.raises(
        ModelFileError, match=r"other: changes the layer 'model\.layers\.9\.mlp\.up_proj'"
    ):
        open_tiny(tiny_chat_file, folder, "./other")


async def test_an_adapter_that_must_be_merged_has_its_own_engine_and_samples(
    folder: Path, tiny_chat_file: Path
) -> None:
    """With DoRA and magnitudes that differ from the rows' norms, the texts differ."""
    path, tensors = folder / "one", folder / "one" / TENSORS_NAME
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"
    width = config_of(open_model(tiny_chat_file)).width
    (folder / "dora").mkdir()
    save_file(
        load_file(tensors) | {name: torch.full((width,), 9.0)}, folder / "dora" / TENSORS_NAME
    )
    config = json.loads((path / CONFIG_NAME).read_text()) | {"use_dora": True}
    (folder / "dora" / CONFIG_NAME).write_text(json.dumps(config))
    lms = [open_tiny(tiny_chat_file, folder, name) for name in ("./dora", "./one", "./dora")]
    assert lms[0].worker is lms[2].worker
    assert lms[0].worker is not lms[1].worker
    texts = [(await lm.generate(QUESTION))[0].text for lm in lms]
    assert texts[0] == texts[2] != texts[1]
    assert len({lm.draw_key(QUESTION) for lm in lms}) == 2
    for lm in lms:
        await lm.aclose()
