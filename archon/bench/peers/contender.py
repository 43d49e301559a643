"""The contenders, the task that they run, and the result of a round."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from archon.bench.workload import Workload
from archon.engine.model.precision import PRECISIONS
from archon.errors import ContextLengthError, MissingExtraError, UsageError


class ContenderKind(NamedTuple):
    """The loader of a contender, and the package that it needs."""

    load: str
    """``module:function`` of the ``Load`` function that the contender's process calls."""
    package: str | None = None
    """A package that it needs in addition to those of the engine, or None."""


CONTENDERS: dict[str, ContenderKind] = {
    **{
        name: ContenderKind("archon.bench.peers.archon_engine:load")
        for name in ("archon", *(f"archon-{precision}" for precision in PRECISIONS))
    },
    "llama.cpp": ContenderKind("archon.bench.peers.llamacpp:load", "llama_cpp"),
    "llama.cpp-q4_0": ContenderKind("archon.bench.peers.llamacpp:load_q4_0", "llama_cpp"),
    "llama.cpp-q8_0": ContenderKind("archon.bench.peers.llamacpp:load_q8_0", "llama_cpp"),
    "transformers": ContenderKind("archon.bench.peers.transformers_generate:load", "transformers"),
}
"""Contenders by name."""


@dataclass(frozen=True, slots=True)
class PeerTask:
    """The task of a contender: model, workload and settings, sent to its process as JSON."""

    path: str
    """Path of a GGUF file or of a folder of safetensors files."""
    digest: str
    """Digest of the weights, the cache key of Archon's packed weights."""
    vocab_size: int
    workload: Workload
    decode_only: bool
    """Whether only the steps after the first new token are timed."""
    precision: str
    """Precision of Archon's linear layers. Peers use the precision of the file."""
    threads: int
    fraction: float | None
    """Share of the prompts in a peer's round; None for enough to fill ``round_seconds``."""
    round_seconds: float
    """Target duration of a peer's round if ``fraction`` is None."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PeerTask:
        return cls(**{**data, "workload": Workload(**data["workload"])})

    def check(self, context_length: int) -> None:
        """Check that the sequences fit in the model's context.

        Raises
        ------
        ContextLengthError
            A sequence is longer than the model's context.
        """
        length = self.workload.prompt_tokens + self.workload.new_tokens
        if length > context_length:
            raise ContextLengthError(
                f"sequences of {length} tokens do not fit in the model's context of "
                f"{context_length} tokens"
            )

    def prompts(self, seed: int, num_prompts: int) -> list[tuple[int, ...]]:
        """Return the first prompts for a seed. They differ between seeds, so no cache is warm."""
        requests = self.workload.requests(self.vocab_size, seed)
        return [request.prompt_ids for request in requests[:num_prompts]]

    @property
    def shared_tokens(self) -> int:
        """Number of tokens that are computed once for all prompts, without the last token."""
        return min(self.workload.shared_prefix_tokens, self.workload.prompt_tokens - 1)


@dataclass(frozen=True, slots=True)
class Round:
    """One timed round."""

    num_prompts: int
    completion_tokens: int
    """Number of tokens sampled within ``seconds``."""
    seconds: float
    once_seconds: float = 0.0
    """The part of ``seconds`` for the shared prefix, which does not grow with the prompts."""

    def tokens_per_second(self, num_prompts: int) -> float:
        """Return the completion tokens per second of the complete workload.

        If the round had only some of the ``num_prompts`` prompts, its time is scaled up, except for
        the time of the shared prefix.
        """
        scale = num_prompts / self.num_prompts
        seconds = self.once_seconds + (self.seconds - self.once_seconds) * scale
        return self.completion_tokens * scale / seconds


class Contender(Protocol):
    """An engine that is loaded and warmed up, in the contender's process."""

    settings: dict[str, Any]
    """Results of the calibration, which are passed to ``Load`` if the contender is loaded again."""

    def run(self, seed: int) -> Round:
        """Run the task once with the prompts of a seed; return its time and number of tokens."""


Load = Callable[[PeerTask, Mapping[str, Any] | None], Contender]
"""Function that loads a contender for a task. The second argument is the settings of an earlier
load of the same task, or None."""


def check_names(names: Sequence[str]) -> None:
    """Check the names of contenders.

    Raises
    ------
    UsageError
        A name is unknown or appears twice.
    """
    for name in names:
        if name not in CONTENDERS:
            raise UsageError(f"unknown contender {name!r}; choose from {', '.join(CONTENDERS)}")
        if list(names).count(name) > 1:
            raise UsageError(f"the contender {name!r} appears twice; name it once")


def missing_package(name: str) -> MissingExtraError | None:
    """Return an error if the package of a contender is missing; None if it can run."""
    package = CONTENDERS[name].package
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return MissingExtraError(package, "peers")


def precision_of(name: str, default: str) -> str:
    """Return the precision in a contender's name such as ``archon-bf16``, else the default.

    >>> precision_of("archon-bf16", "int8"), precision_of("archon", "int8")
    ('bf16', 'int8')
    """
    _, _, precision = name.partition("archon-")
    return precision or default
