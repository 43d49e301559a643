"""Who takes part, what each is asked to do, and what it reports."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from archon.bench.workload import Workload
from archon.engine.model.linear import PRECISIONS
from archon.errors import ContextLengthError, MissingExtraError, UsageError

CONTENDERS: dict[str, str] = {
    "archon": "archon.bench.peers.archon_engine:load",
    **{f"archon-{precision}": "archon.bench.peers.archon_engine:load" for precision in PRECISIONS},
    "llama.cpp": "archon.bench.peers.llamacpp:load",
    "llama.cpp-q4_0": "archon.bench.peers.llamacpp:load_q4_0",
    "llama.cpp-q8_0": "archon.bench.peers.llamacpp:load_q8_0",
    "transformers": "archon.bench.peers.transformers_generate:load",
}
"""Name → ``module:function`` of what loads it in its own process."""
PACKAGES = {
    "llama.cpp": "llama_cpp",
    "llama.cpp-q4_0": "llama_cpp",
    "llama.cpp-q8_0": "llama_cpp",
    "transformers": "transformers",
}
"""Name → the package that it needs beyond those of the engine."""


@dataclass(frozen=True, slots=True)
class PeerTask:
    """The work of one contender, sent to its process as JSON."""

    path: str
    """The GGUF file, or the folder of safetensors."""
    digest: str
    """Of the weights: under it Archon keeps their packed form."""
    vocab_size: int
    workload: Workload
    decode_only: bool
    """Time only what follows the first new token, rather than everything."""
    precision: str
    """Of Archon's linear layers; peers take the file as it is."""
    threads: int
    fraction: float | None
    """Share of the prompts that a peer's round holds; None: as many as fill a round."""
    round_seconds: float
    """How long a peer's round should last where ``fraction`` is None."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PeerTask:
        return cls(**{**data, "workload": Workload(**data["workload"])})

    def check(self, context_length: int) -> None:
        """Refuse what does not fit the model.

        Raises
        ------
        ContextLengthError
            A sequence is longer than the model's context.
        """
        length = self.workload.prompt_tokens + self.workload.new_tokens
        if length > context_length:
            raise ContextLengthError(
                f"sequences of {length} tokens do not fit the model's context of {context_length}"
            )

    def prompts(self, seed: int, num_prompts: int) -> list[tuple[int, ...]]:
        """The first prompts of a round; other seeds give others, so that no cache is warm."""
        requests = self.workload.requests(self.vocab_size, seed)
        return [request.prompt_ids for request in requests[:num_prompts]]

    @property
    def shared_tokens(self) -> int:
        """Tokens that can be computed once for all prompts; the last of a prompt is its own."""
        return min(self.workload.shared_prefix_tokens, self.workload.prompt_tokens - 1)


@dataclass(frozen=True, slots=True)
class Round:
    """One timed round."""

    num_prompts: int
    completion_tokens: int
    """Tokens drawn within ``seconds``."""
    seconds: float
    once_seconds: float = 0.0
    """The part of ``seconds`` that does not grow with the prompts: the shared prefix."""

    def tokens_per_second(self, num_prompts: int) -> float:
        """Completion tokens a second of the whole workload.

        Where the round held some of the ``num_prompts`` prompts only, its time is scaled up; what
        is done once for all prompts is counted once, so that a small round is no disadvantage.
        """
        scale = num_prompts / self.num_prompts
        seconds = self.once_seconds + (self.seconds - self.once_seconds) * scale
        return self.completion_tokens * scale / seconds


class Contender(Protocol):
    """Loaded and warm, in its own process."""

    settings: dict[str, Any]
    """What it found to be its best; given back to ``load`` when it is loaded a second time."""

    def run(self, seed: int) -> Round: ...


Load = Callable[[PeerTask, Mapping[str, Any] | None], Contender]
"""(task, settings of an earlier load of the same task) → the contender."""


def check_names(names: Sequence[str]) -> list[str]:
    """The names of contenders, as they were given.

    Raises
    ------
    UsageError
        There is none of a name, or one is given twice.
    """
    for name in names:
        if name not in CONTENDERS:
            raise UsageError(f"no contender {name!r}; there are {', '.join(CONTENDERS)}")
        if list(names).count(name) > 1:
            raise UsageError(f"the contender {name!r} is given twice")
    return list(names)


def missing_package(name: str) -> MissingExtraError | None:
    """What to install before a contender can run, or None."""
    package = PACKAGES.get(name)
    try:
        there = package is None or importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        there = False
    return None if there or package is None else MissingExtraError(package, "peers")


def precision_of(name: str, default: str) -> str:
    """The precision in a name such as ``archon-bf16``, else the default.

    >>> precision_of("archon-bf16", "int8"), precision_of("archon", "int8")
    ('bf16', 'int8')
    """
    _, _, precision = name.partition("archon-")
    return precision or default
