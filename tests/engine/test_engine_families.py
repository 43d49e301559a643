"""Every family compared with transformers: from folders and from GGUF files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_doubles import (
    CPU,
    GREEDY,
    assert_close_logits,
    make_request,
    prompt_of,
    tiny_engine,
)
from family_models import CASES, ORIGINAL, random_model, write_family_gguf
from model_doubles import our_logits
from torch import Tensor
from transformers import PreTrainedModel

from archon.engine.loading import load_decoder, open_model
from archon.engine.model.config import config_of
from archon.engine.model.decoder import Decoder
from archon.engine.model.families import FAMILIES
from archon.engine.model.precision import Precision
from archon.engine.model.weights import FolderWeights, WeightSource, weights_of

VOCABULARY = 96
PROMPT = prompt_of(90, vocab_size=VOCABULARY)
WITH_GGUF = [name for name, case in CASES.items() if case.arch is not None]


@pytest.fixture(scope="module")
def model_of() -> Callable[[str], PreTrainedModel]:
    """Return a function that returns the model of a case, made once."""
    models: dict[str, PreTrainedModel] = {}

    def model(name: str) -> PreTrainedModel:
        if name not in models:
            models[name] = random_model(CASES[name])
        return models[name]

    return model


@pytest.fixture(scope="module")
def source_of(
    model_of: Callable[[str], PreTrainedModel], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], WeightSource]:
    """Return a function that opens the file of a case in a format."""
    folder = tmp_path_factory.mktemp("families")

    def source(name: str, format: str) -> WeightSource:
        path = folder / f"{name}.{format}"
        if not path.exists():
            if format == "gguf":
                write_family_gguf(path, CASES[name], model_of(name))
            else:
                model_of(name).save_pretrained(path)
        return weights_of(open_model(path))

    return source


@torch.inference_mode()
def their_logits(model: PreTrainedModel, text: Sequence[int]) -> Tensor:
    """Return transformers' logits after each token, each computed for the text up to it: (T, V)."""
    config = model.config
    limit = len(text)
    if config.rope_parameters.get("rope_type") == "longrope":
        limit = config.original_max_position_embeddings
    # The rotary frequencies of LongRoPE depend on the length of the text.
    short, long = (
        model(torch.tensor([part]), use_cache=False).logits[0].float()
        for part in (text[:limit], text)
    )
    return torch.cat([short, long[limit:]])


def test_every_family_has_a_case() -> None:
    prefixes = {case.prefix for case in CASES.values()}
    assert prefixes == {traits.hf_class for traits in FAMILIES.values()}


@pytest.mark.parametrize(
    ("name", "format"), [*((n, "folder") for n in CASES), *((n, "gguf") for n in WITH_GGUF)]
)
def test_logits_are_those_of_transformers(
    name: str,
    format: str,
    model_of: Callable[[str], PreTrainedModel],
    source_of: Callable[[str, str], WeightSource],
) -> None:
    decoder = load_decoder(source_of(name, format), "float32", CPU)
    for length in (ORIGINAL, len(PROMPT)):
        expected = their_logits(model_of(name), PROMPT)[:length]
        found = our_logits(decoder, PROMPT[:length])
        is_long = decoder.config.long_after is not None and length > decoder.config.long_after
        begin = ORIGINAL if is_long else 0  # the whole text is long, also its beginning
        assert_close_logits(found[begin:], expected[begin:])


def test_scores_of_the_27b_models_of_gemma_are_scaled_by_the_width(tmp_path: Path) -> None:
    """llama.cpp recognizes these models by their number of layers; no key has the scale."""
    shape = {"num_hidden_layers": 46, "head_dim": 32, "intermediate_size": 32}
    case = replace(CASES["gemma2"], config=dict(CASES["gemma2"].config) | shape)
    write_family_gguf(tmp_path / "model.gguf", case, random_model(case))
    assert config_of(open_model(tmp_path / "model.gguf")).attention_scale == (64 / 4) ** -0.5


@pytest.mark.parametrize("name", CASES)
def test_files_may_have_all_keys_of_transformers(
    name: str,
    model_of: Callable[[str], PreTrainedModel],
    source_of: Callable[[str, str], WeightSource],
    tmp_path: Path,
) -> None:
    """Some files leave out keys that have their default value, others have all of them."""
    source = source_of(name, "folder")
    assert isinstance(source, FolderWeights)
    (tmp_path / "model.safetensors").symlink_to(source.file.path / "model.safetensors")
    config: Any = model_of(name).config
    (tmp_path / "config.json").write_text(config.to_json_string(use_diff=False))
    assert config_of(open_model(tmp_path)) == source.config


@pytest.mark.parametrize("name", CASES)
def test_greedy_tokens_are_those_of_transformers(
    name: str,
    model_of: Callable[[str], PreTrainedModel],
    source_of: Callable[[str, str], WeightSource],
) -> None:
    """Two prompts share a prefix and one forks; they grow over window and original context."""
    decoder, model = load_decoder(source_of(name, "folder"), "float32", CPU), model_of(name)
    engine = tiny_engine(decoder, max_sequences=3, max_step_tokens=1)  # 67: a prompt has two chunks
    prompts = [PROMPT[:ORIGINAL], PROMPT[:33] + PROMPT[50:55]]
    requests = [
        make_request(prompt, rule=GREEDY, max_tokens=64, draws=draws)
        for prompt, draws in zip(prompts, [(0,), (0, 1)], strict=True)
    ]
    handles = [engine.add(request) for request in requests]
    while engine.has_work:
        engine.step()
    for prompt, handle in zip(prompts, handles, strict=True):
        found = [torch.stack(engine.logits[handle, i]) for i in range(len(handle.request.draws))]
        tokens = found[0].argmax(-1).tolist()
        assert len(tokens) == 64
        expected = their_logits(model, [*prompt, *tokens])[len(prompt) - 1 : -1]
        for logits in found:  # those that each token was chosen from
            assert_close_logits(logits, expected)


@pytest.mark.parametrize(
    ("precision", "bound", "native"),
    [("bf16", 0.02, False), ("int8", 0.05, False), ("int8", 0.05, True), ("int4", 0.12, True)],
)
@pytest.mark.parametrize("name", CASES)
def test_lower_precisions_stay_near_float32(
    name: str,
    precision: Precision,
    bound: float,
    native: bool,
    source_of: Callable[[str, str], WeightSource],
) -> None:
    """The RMS of the error is within a bound relative to the spread of the logits.

    With experts it is the error of half of the tokens: for others, rounding selects other experts.
    """
    source = source_of(name, "folder")
    exact = our_logits(load_decoder(source, "float32", CPU), PROMPT[:60])
    decoder = load_decoder(source, precision, CPU, native=native)
    assert isinstance(decoder, Decoder) or native
    rounded = our_logits(decoder, PROMPT[:60])
    error_T = (rounded - exact).square().mean(-1)
    error = error_T.mean() if source.config.experts is None else error_T.median()
    assert error.sqrt() <= bound * exact.std()
