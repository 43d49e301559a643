"""Each contender on tiny random models: its tokens and their number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peers_doubles import task
from tiny_folders import write_folder
from tiny_models import TinyModel, tiny_vocabulary, write_gguf

from archon.bench.peers import archon_engine
from archon.bench.peers.contender import PeerTask
from archon.bench.workload import Workload
from archon.engine.loading import load_engine
from archon.engine.sampling.sampler import SamplingRule
from archon.errors import ModelError

WORKLOAD = Workload(
    num_prompts=3, samples_per_prompt=2, prompt_tokens=14, shared_prefix_tokens=9, new_tokens=6
)
WORKLOADS = {
    "shared": WORKLOAD,
    "nothing shared": replace(WORKLOAD, shared_prefix_tokens=0),
    "all shared": replace(WORKLOAD, shared_prefix_tokens=14),
    "one token": Workload(1, 1, 1, 0, 3),
}


@pytest.fixture(scope="module", params=["llama", "qwen2", "qwen3"])
def tiny_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("peers") / f"{request.param}.gguf"
    write_gguf(path, TinyModel(family=request.param))
    return path


def tiny_task(path: Path, workload: Workload, **changes: object) -> PeerTask:
    given = {"vocab_size": len(tiny_vocabulary()), "workload": workload, **changes}
    return task(str(path), **given)


def greedy_tokens(given: PeerTask) -> list[list[int]]:
    """Return the engine's greedy tokens for each sequence."""
    engine = load_engine(Path(given.path), "float32", device="cpu")
    for request in given.workload.requests(given.vocab_size, seed=5):
        engine.add(replace(request, rule=SamplingRule()))
    texts: dict[tuple[int, ...], list[list[int]]] = {}
    while engine.has_work:
        for prompt, generations in engine.step().items():
            texts[prompt.request.prompt_ids] = [list(g.token_ids) for g in generations]
    return [text for ids in given.prompts(5, given.workload.num_prompts) for text in texts[ids]]


@pytest.mark.parametrize("decode_only", [False, True])
def test_archon_samples_every_token(tiny_file: Path, decode_only: bool) -> None:
    given = tiny_task(tiny_file, WORKLOAD, decode_only=decode_only)
    done = archon_engine.load(given, None).run(seed=1)
    assert done.completion_tokens == 6 * (5 if decode_only else 6)
    assert done.num_prompts == 3
    assert done.seconds > 0


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_transformers_samples_the_models_tokens(tiny_file: Path, workload: Workload) -> None:
    pytest.importorskip("transformers")
    from archon.bench.peers import transformers_generate

    given = tiny_task(tiny_file, workload)
    contender = transformers_generate.load(given, {"rows": 2, "num_prompts": workload.num_prompts})
    contender.model = transformers_generate.load_model(tiny_file, torch.float32)
    prompts = given.prompts(5, workload.num_prompts)
    with torch.inference_mode():
        prefix = contender.prefix_cache(prompts[0])
        tokens_BT = contender.generate(prompts, prefix, workload.new_tokens, do_sample=False)
    assert tokens_BT.tolist() == greedy_tokens(given)


@pytest.mark.parametrize("decode_only", [False, True])
def test_transformers_calibrates_and_runs(tiny_file: Path, decode_only: bool) -> None:
    pytest.importorskip("transformers")
    from archon.bench.peers import transformers_generate

    workload = Workload(1, 1, 5, 0, 6) if decode_only else WORKLOAD
    given = tiny_task(tiny_file, workload, decode_only=decode_only)
    contender = transformers_generate.load(given, None)
    done = contender.run(seed=1)
    assert contender.settings["rows"] in (1, 2, 4, 6)
    sequences = done.num_prompts * workload.samples_per_prompt
    assert done.completion_tokens == sequences * (5 if decode_only else 6)
    assert done.seconds > done.once_seconds


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_llama_cpp_samples_the_models_tokens_in_every_layout(
    tiny_file: Path, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llama_cpp")
    from archon.bench.peers import llamacpp, llamacpp_session

    def greedy(lib: object) -> object:
        return llamacpp.library().llama_sampler_init_greedy()

    monkeypatch.setattr(llamacpp_session, "_make_sampler", greedy)
    given = tiny_task(tiny_file, workload)
    lib = llamacpp.library()
    model = lib.llama_model_load_from_file(
        str(tiny_file).encode(), lib.llama_model_default_params()
    )
    prompts = given.prompts(5, workload.num_prompts)
    rows = workload.num_prompts * workload.samples_per_prompt
    for layout in llamacpp.LAYOUTS:
        session = llamacpp_session.LlamaSession(lib, model, given, rows, layout)
        for _ in range(2):  # a second round finds nothing of the first
            session.begin(prompts[0][: given.shared_tokens])
            session.start(prompts)
            sampled = [list(session.tokens)]
            for _ in range(workload.new_tokens - 1):
                session.step()
                sampled.append(list(session.tokens))
            assert [list(text) for text in zip(*sampled, strict=True)] == greedy_tokens(given)
        session.close()
    lib.llama_model_free(model)


@pytest.mark.parametrize("name", ["load", "load_q8_0"])
@pytest.mark.parametrize("decode_only", [False, True])
def test_llama_cpp_calibrates_and_runs(
    tiny_file: Path,
    name: str,
    decode_only: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("llama_cpp")
    from archon.bench.peers import llamacpp

    monkeypatch.setenv("ARCHON_CACHE", str(tmp_path))
    workload = Workload(1, 1, 5, 0, 6) if decode_only else WORKLOAD
    given = tiny_task(tiny_file, workload, decode_only=decode_only)
    contender = getattr(llamacpp, name)(given, None)
    done = contender.run(seed=1)
    sequences = done.num_prompts * workload.samples_per_prompt
    assert done.completion_tokens == sequences * (5 if decode_only else 6)
    assert "CPU" in contender.settings["system_info"]
    again = getattr(llamacpp, name)(given, contender.settings)
    assert again.settings == contender.settings
    assert len(list(tmp_path.glob("peers/*Q8_0.gguf"))) == (name == "load_q8_0")


def test_transformers_reads_a_folder_and_llama_cpp_rejects_it(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from archon.bench.peers import transformers_generate

    given = tiny_task(write_folder(tmp_path / "model", TinyModel(family="qwen2")), WORKLOAD)
    assert transformers_generate.load(given, None).run(seed=1).completion_tokens > 0
    pytest.importorskip("llama_cpp")
    from archon.bench.peers import llamacpp

    with pytest.raises(ModelError, match="is a folder"):
        llamacpp.load(given, None)
