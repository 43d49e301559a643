"""Samples to the bit: texts, token ids and log-probabilities of models and of whole graphs.

Tokens are compared exactly and log-probabilities to 1e-5. In float32 the sums of PyTorch differ in
their last bits between processors; the requests here were checked with every instruction set that
``ATEN_CPU_CAPABILITY`` offers. In int8 the kernels give the same bits with AVX2 and AVX-512, except
that AVX-512 with bf16 computes attention differently: the tests of int8 are skipped there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from contract_inputs import JUDGED, VOTE
from golden_files import check, check_close, masked
from tiny_models import TinyModel, write_gguf

import archon
from archon import Completion, Constraint, FreeText, Message, Request, SamplingParams

QUESTION = (Message("user", "What is 12 + 7 - 3 * 4? Think step by step."),)
TALK = (
    Message("system", "Be brief – and kind."),
    Message("user", "<|im_start|>the answer\n\n"),
    Message("assistant", "é"),
    Message("user", "and now?"),
)
GREEDY = SamplingParams(temperature=0, max_tokens=20)
WARM = SamplingParams(temperature=0.9, max_tokens=20)
MOVE = {
    "type": "object",
    "properties": {"steps": {"enum": [1, 2, 3]}, "to": {"enum": ["a", "b", "c"]}},
    "required": ["steps", "to"],
    "additionalProperties": False,
}
REQUESTS = {
    "greedy": Request(QUESTION, sampling=GREEDY, logprobs=True),
    "conversation": Request(TALK, n=2, sampling=WARM, logprobs=True),
    "default sampling": Request(QUESTION, sampling=SamplingParams(max_tokens=16)),
    "seed": Request(QUESTION, n=2, seed=11, sampling=WARM),
    "four": Request(QUESTION, n=4, sampling=WARM, logprobs=True),
    "first draw": Request(QUESTION, n=2, first_draw=3, sampling=WARM),
    "top_k": Request(QUESTION, n=2, sampling=replace(WARM, top_k=5)),
    "top_p": Request(QUESTION, n=2, sampling=replace(WARM, top_p=0.8)),
    "min_p": Request(QUESTION, n=2, sampling=replace(WARM, min_p=0.1)),
    "all of them": Request(
        QUESTION,
        n=2,
        seed=3,
        sampling=SamplingParams(1.3, top_k=40, top_p=0.9, min_p=0.02, max_tokens=20),
        logprobs=True,
    ),
    "stop": Request(QUESTION, n=2, sampling=replace(WARM, stop=("e", "."))),
    "regex": Request(QUESTION, n=2, sampling=WARM, constraint=Constraint(regex="[A-D]{3}-[0-9]+;")),
    "json schema": Request(
        QUESTION, n=2, sampling=replace(WARM, max_tokens=60), constraint=Constraint(MOVE)
    ),
    "order": Request(
        QUESTION, n=2, sampling=replace(WARM, max_tokens=60),
        constraint=Constraint(order_of=("[1]", "[2]", "[3]")),
    ),
    "verdict": Request(
        QUESTION, n=2, sampling=replace(WARM, max_tokens=40),
        constraint=Constraint(regex="correct|incorrect", after=FreeText("Verdict:", room=20)),
    ),
    "choices": Request(QUESTION, choices=("yes", "no", "the answer")),
}  # fmt: skip


def tiny_file(folder: Path) -> Path:
    path = folder / "tiny.gguf"
    write_gguf(path, TinyModel("qwen2", width=64, ffn_width=128, context_length=4096))
    return path


def tiny_card(path: Path, precision: str) -> dict[str, Any]:
    return {
        "name": "tiny",
        "backend": "local",
        "sources": [{"path": str(path)}],
        "precision": precision,
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_file(tmp_path_factory.mktemp("samples"))


FEW = ("greedy", "four", "all of them", "json schema", "choices")


def generate(model: Any, names: Sequence[str] = tuple(REQUESTS)) -> dict[str, list[Completion]]:
    """The completions of requests, all asked at once."""

    async def ask() -> dict[str, list[Completion]]:
        lm = archon.lm(model)
        found = await asyncio.gather(*(lm.generate(REQUESTS[name]) for name in names))
        aclose = getattr(lm, "aclose", None)
        if aclose is not None:
            await aclose()
        return dict(zip(names, found, strict=True))

    return asyncio.run(ask())


USED = ("prompt_tokens", "completion_tokens", "generated_tokens", "choice_tokens", "calls")
"""What is used; tokens found in a cache depend on what ran before."""


def used(usage: archon.Usage) -> str:
    return " ".join(str(getattr(usage, name)) for name in USED)


def plain_all(completions: dict[str, list[Completion]]) -> str:
    """Everything but log-probabilities, two lines per completion: short, as there are many."""
    lines = []
    for name, several in completions.items():
        prompts = {json.dumps(dict(completion.prompts)) for completion in several}
        lines.append(f"{name}: {' '.join(prompts)}")
        for one in several:
            lines.append(f" {one.draw} {one.finish_reason}, {used(one.usage)}: {one.text!r}")
            if one.token_ids is not None:
                lines.append(f"  {' '.join(map(str, one.token_ids))}")
    return "\n".join(lines)


def logprobs_of(completions: dict[str, list[Completion]]) -> dict[str, list[list[float]]]:
    return {
        name: [
            list(one.logprobs or ())
            or [value for _, value in sorted((one.choice_logprobs or {}).items())]
            for one in several
        ]
        for name, several in completions.items()
        if several[0].logprobs is not None or several[0].choice_logprobs is not None
    }


def test_tiny_model_is_the_one_of_the_golden_files(file: Path) -> None:
    """If this fails, numpy or gguf writes another file, and the other tests here fail, too."""
    check("samples/file.json", {"sha256": sha256(file.read_bytes()).hexdigest()})


def computes_attention_in_bf16() -> bool:
    info = Path("/proc/cpuinfo")
    return info.is_file() and "avx512_bf16" in info.read_text()


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
def test_local_model(file: Path, precision: str) -> None:
    if precision != "float32" and computes_attention_in_bf16():
        pytest.skip("this processor computes attention in bf16")
    names = FEW if precision == "int4" else tuple(REQUESTS)
    found = generate(tiny_card(file, precision), names)
    check(f"samples/local-{precision}.txt", plain_all(found))
    check_close(f"samples/local-{precision}-logprobs.json", logprobs_of(found))


def test_scripted_model() -> None:
    found = generate("scripted")
    check("samples/scripted.txt", plain_all(found))
    check_close("samples/scripted-logprobs.json", logprobs_of(found))


def told(answer: archon.Answer) -> dict[str, Any]:
    """An answer, and what every node passed on."""
    trace = masked(answer.trace.to_json())
    return {
        "text": answer.text,
        "value": answer.value,
        "cost_tokens": answer.cost_tokens,
        "usage": used(answer.usage),
        "candidates": [f"{one.id.node} {one.id.draw}" for one in answer.candidates],
        "nodes": {
            node["node"]: [
                {"id": [*one["id"].values()], "text": one["text"], "value": one["value"],
                 "notes": [[a["node"], a["kind"], a["value"]] for a in one["annotations"]]}
                for one in node["outputs"]
            ]
            for node in trace["nodes"]
        },
    }  # fmt: skip


def test_graph_of_the_scripted_model() -> None:
    models = dict.fromkeys(("solver", "judge"), "scripted")
    answer = archon.load("rank-fuse", models=models).run("What is 12 + 7 - 3 * 4?", seed=4)
    check("samples/graph-rank-fuse.json", told(answer))


@pytest.mark.parametrize("graph", [VOTE, JUDGED], ids=["vote", "judged"])
def test_graph_of_the_local_model(file: Path, graph: dict[str, Any]) -> None:
    """Judges read samples of the model, score with its logits, and write within constraints."""
    card = tiny_card(file, "float32") | {"sampling": {"max_tokens": 24}}
    models = dict.fromkeys(graph["models"], card)
    answer = archon.load(graph, models=models).run("What is 12 + 7?", seed=4)
    check(f"samples/graph-local-{graph['name']}.json", told(answer))


def catalogue() -> list[str]:
    """Shipped architectures that need no model but the scripted one."""
    return [
        "adaptive-self-consistency", "archon-figure", "archon-reasoning", "best-of-n-logit",
        "chain-of-thought", "checked-vote", "critic-fuse", "mixture-of-agents",
        "pairwise-tournament", "program-aided", "program-and-prose", "program-vote", "rank-fuse",
        "self-consistency", "self-mixture", "single", "unit-tests", "verify-and-retry",
        "weighted-vote", "best-of-n-likelihood",
    ]  # fmt: skip


@pytest.mark.filterwarnings("default")
def test_shipped_architectures_with_the_scripted_model() -> None:
    """Answer, cost, usage, and a digest of the trace, which holds every prompt and completion."""
    found: dict[str, Any] = {}
    for name in catalogue():
        roles = archon.load(name).spec.models
        loaded = archon.load(name, models=dict.fromkeys(roles, "scripted"))
        answer = loaded.run("What is 12 + 7 - 3 * 4?", seed=4)
        trace = json.dumps(masked(answer.trace.to_json()), sort_keys=True)
        found[name] = {key: value for key, value in told(answer).items() if key != "nodes"}
        found[name]["trace"] = sha256(trace.encode()).hexdigest()
    check("samples/shipped.json", found)
