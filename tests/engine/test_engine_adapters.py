"""Several adapters in one batch: each text equals that of merged weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from engine_doubles import (
    CPU,
    FAMILY_SAMPLE,
    GREEDY,
    PACKABLE,
    AdaptedWeights,
    adapted,
    adapters_of,
    assert_close_logits,
    logits_of,
    make_request,
    native_kernels,
    prompt_of,
    random_adapter,
    run_all,
    tiny_config,
    tiny_engine,
    tokens_of,
)

from archon.engine.cuda.graphs import GraphedDecoder
from archon.engine.kernels.native import NativeDecoder
from archon.engine.loading import load_decoder
from archon.engine.model.decoder import Decoder
from archon.engine.model.lora import Adapter
from archon.engine.model.outlier_rotation import OutlierRotatedWeights
from archon.engine.model.precision import Precision
from archon.engine.model.weights import RandomWeights
from archon.errors import EngineError


@pytest.mark.parametrize("family", FAMILY_SAMPLE)
def test_adapters_in_one_batch_match_merged_weights(family: str) -> None:
    config = tiny_config(family=family)
    engine = tiny_engine(adapted("float32", config))
    requests = [
        make_request(prompt_of(35), rule=GREEDY, draws=(0, 1), adapter=name)
        for name in ("adapter 1", "", "adapter 2")
    ]
    together = logits_of(engine, *requests)
    merged = [AdaptedWeights(RandomWeights(config), adapter) for adapter in adapters_of(config)]
    for source, request, found in zip(
        (merged[0], RandomWeights(config), merged[1]), requests, together, strict=True
    ):
        alone = tiny_engine(Decoder(source, "float32", CPU))
        [expected] = logits_of(alone, replace(request, adapter=""))
        assert_close_logits(found, expected)
    assert (together[0] - together[1]).abs().max() > 0.1
    assert (together[2] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize(("precision", "bound"), [("int8", 0.03), ("int4", 0.03), ("native", 0.05)])
def test_the_kernels_compute_what_torch_does(precision: Precision, bound: float) -> None:
    """In ``native``, torch computes in bf16."""
    native_kernels()
    config = tiny_config(**PACKABLE)
    native, torch_ = adapted(precision, config, native=True), adapted(precision, config)
    assert isinstance(native, NativeDecoder)
    for name in ("adapter 1", "adapter 2"):
        request = make_request(prompt_of(20), max_tokens=1, adapter=name)
        [found] = logits_of(tiny_engine(native), request)
        [expected] = logits_of(tiny_engine(torch_), request)
        assert_close_logits(found, expected, bound=bound)
        [plain] = logits_of(tiny_engine(native), replace(request, adapter=""))
        assert (found - plain).abs().max() > 0.2 * plain.abs().max()


def test_native_samples_do_not_depend_on_the_batch() -> None:
    native_kernels()
    config = tiny_config(**PACKABLE)
    decoder = adapted("int8", config, native=True)
    requests = [
        make_request(prompt_of(30 + 7 * i, seed=i % 2), draws=(0, 1, 2), adapter=name)
        for i, name in enumerate(["adapter 1", "", "adapter 2", "adapter 1", ""])
    ]
    together = logits_of(tiny_engine(decoder), *requests)
    for request, found in zip(requests, together, strict=True):
        [alone] = logits_of(tiny_engine(decoder), request)
        assert torch.equal(found, alone)


def test_a_prefix_is_shared_within_one_adapter_only() -> None:
    engine = tiny_engine(adapted("float32", tiny_config()))
    request = make_request(prompt_of(40))
    cached = []
    for name in ("adapter 1", "adapter 2", "", "adapter 1"):
        [[generation]] = run_all(engine, replace(request, adapter=name))
        cached.append(generation.cached_tokens)
    assert cached == [0, 0, 0, 32]


def test_samples_of_different_adapters_have_different_noise() -> None:
    config = tiny_config()
    decoder = load_decoder(RandomWeights(config), "float32", CPU)
    for digest in ("one", "two"):  # both change nothing
        decoder.add_adapter(Adapter(1, 1, {}, 1, digest=digest))
    request = make_request(prompt_of(10), max_tokens=20)
    texts = {
        tokens_of(run_all(tiny_engine(decoder), replace(request, adapter=name))[0])[0]
        for name in ("one", "two", "")
    }
    assert len(texts) == 3


def test_steps_without_adapters_are_still_replayed() -> None:
    config = tiny_config()
    decoder = adapted("float32", config)
    assert isinstance(decoder, Decoder)
    request = make_request(prompt_of(10), adapter="adapter 1")
    graphed = tiny_engine(GraphedDecoder(decoder))
    assert tokens_of(run_all(graphed, request)[0]) == tokens_of(
        run_all(tiny_engine(decoder), request)[0]
    )


def test_an_unknown_adapter_is_rejected() -> None:
    with pytest.raises(EngineError, match="no adapter 'other'"):
        tiny_engine().add(make_request(prompt_of(5), adapter="other"))


@pytest.mark.parametrize("native", [False, True])
def test_dropping_an_adapter_drops_its_prefixes(native: bool) -> None:
    if native:
        native_kernels()
    config = tiny_config(**PACKABLE)
    source, precision = RandomWeights(config), "int8" if native else "float32"
    decoder = load_decoder(source, precision, CPU, native=native)  # type: ignore[arg-type]
    engine = tiny_engine(decoder)
    request = make_request(prompt_of(40), rule=GREEDY, adapter="now")
    free, texts = engine.scheduler.memory.num_available, []
    for seed in (1, 2, 1):
        adapter = replace(random_adapter(config, seed, 3), digest="now")
        decoder.add_adapter(OutlierRotatedWeights(source).adapter(adapter) if native else adapter)
        [[generation]] = run_all(engine, request)
        assert generation.cached_tokens == 0
        texts.append(generation.token_ids)
        engine.drop_adapter("now")
        assert engine.scheduler.memory.num_available == free
        assert engine.scheduler.memory.pool.num_free == free
    assert texts[0] == texts[2] != texts[1]
    with pytest.raises(EngineError, match="no adapter 'now'"):
        engine.drop_adapter("now")


def test_another_thread_may_add_an_adapter_during_a_step() -> None:
    native_kernels()
    decoder = load_decoder(RandomWeights(tiny_config(**PACKABLE)), "int8", CPU)
    assert isinstance(decoder, NativeDecoder)

    class Watched:
        """Add another adapter while the rank of this one is read."""

        @property
        def max_rank(self) -> int:
            name = f"adapter {len(decoder.adapters)}"
            decoder.add_adapter(Adapter(1, 1, {}, 1, digest=name))
            return 0

    decoder.adapters["watched"] = Watched()  # type: ignore[assignment]
    run_all(tiny_engine(decoder), make_request(prompt_of(5)))
    assert len(decoder.adapters) > 1


def test_adding_an_adapter_twice_does_not_move_it() -> None:
    native_kernels()
    config = tiny_config(**PACKABLE)
    decoder = load_decoder(RandomWeights(config), "int8", CPU)
    assert isinstance(decoder, NativeDecoder)
    adapter = random_adapter(config, 1, 3)
    decoder.add_adapter(adapter)
    address = decoder.adapters[adapter.digest].address
    decoder.add_adapter(adapter)
    assert decoder.adapters[adapter.digest].address == address


def test_an_adapter_in_use_is_not_dropped() -> None:
    engine = tiny_engine(adapted("float32", tiny_config()))
    prompt = engine.add(make_request(prompt_of(40), adapter="adapter 1"))
    engine.step()
    with pytest.raises(EngineError, match="uses it"):
        engine.drop_adapter("adapter 1")
    engine.cancel(prompt)
    engine.drop_adapter("adapter 1")
    with pytest.raises(EngineError, match="no adapter"):
        engine.add(make_request(prompt_of(40), adapter="adapter 1"))
