"""The contenders, their tasks, and the results of rounds."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from archon.bench.workload import Workload
from archon.engine.model.linear import PRECISIONS
from archon.errors import ContextLengthError, MissingExtraError, UsageError


class ContenderKind(NamedTuple):
    """A type of contender: one entry of ``CONTENDERS``."""

    load: str
    """``module:function`` of a ``Load`` function, which the contender's process calls."""
    package: str | None = None
    """A package that the contender needs in addition to the engine's packages."""


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
"""Name → type of contender."""


@dataclass(frozen=True, slots=True)
class PeerTask:
    """The task of one contender, sent to its process as JSON."""

    path: str
    """The GGUF file, or a folder with safetensors files."""
    digest: str
    """Digest of the weights, used as the key of Archon's packed weights."""
    vocab_size: int
    workload: Workload
    decode_only: bool
    """Whether to time only the steps after the first new token."""
    precision: str
    """Precision of Archon's linear layers; peers use the file's precision."""
    threads: int
    fraction: float | None
    """Share of the prompts in a peer's round; if None, a round fills ``round_seconds``."""
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
        """Return a round's first prompts, which differ between seeds so that no cache is warm."""
        requests = self.workload.requests(self.vocab_size, seed)
        return [request.prompt_ids for request in requests[:num_prompts]]

    @property
    def shared_tokens(self) -> int:
        """Number of tokens computed once for all prompts; excludes the last token of a prompt."""
        return min(self.workload.shared_prefix_tokens, self.workload.prompt_tokens - 1)


@dataclass(frozen=True, slots=True)
class Round:
    """One timed round."""

    num_prompts: int
    completion_tokens: int
    """Number of tokens sampled within ``seconds``."""
    seconds: float
    once_seconds: float = 0.0
    """The part of ``seconds`` spent on the shared prefix, which does not depend on the number of
    prompts."""

    def tokens_per_second(self, num_prompts: int) -> float:
        """Return the completion tokens per second of the complete workload.

        The time of a round with only some of the ``num_prompts`` prompts is scaled up. The shared
        prefix is counted once, so that a small round is not a disadvantage.
        """
        scale = num_prompts / self.num_prompts
        seconds = self.once_seconds + (self.seconds - self.once_seconds) * scale
        return self.completion_tokens * scale / seconds


class Contender(Protocol):
    """A loaded engine, warmed up, in its own process."""

    settings: dict[str, Any]
    """Results of the calibration. ``Load`` receives them when it loads the contender again."""

    def run(self, seed: int) -> Round:
        """Run the task on a seed's prompts, and time it."""


Load = Callable[[PeerTask, Mapping[str, Any] | None], Contender]
"""(task, settings from an earlier load of the same task) → contender."""


def check_names(names: Sequence[str]) -> None:
    """Check names of contenders.

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
    """Return an error if a package that a contender needs is missing; None if it can run."""
    package = CONTENDERS[name].package
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return MissingExtraError(package, "peers")


def precision_of(name: str, default: str) -> str:
    """Return the precision in a name such as ``archon-bf16``; the default if there is none.

    >>> precision_of("archon-bf16", "int8"), precision_of("archon", "int8")
    ('bf16', 'int8')
    """
    _, _, precision = name.partition("archon-")
    return precision or default
