"""A typical workload of a graph: a few prompts with a common prefix, and many samples of each."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from archon.engine.sampling.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Workload:
    """Random prompts with a common prefix, and samples of exactly ``new_tokens`` tokens."""

    num_prompts: int
    samples_per_prompt: int
    prompt_tokens: int
    """Length of each prompt, including the common prefix."""
    shared_prefix_tokens: int
    new_tokens: int

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Make a workload from a mapping; keys other than the fields are ignored."""
        return cls(**{each.name: values[each.name] for each in fields(cls)})

    def requests(self, vocab_size: int, seed: int = 0) -> list[GenerationRequest]:
        """Return the requests for a seed, always the same. No token ends a sample early."""
        # Imported here, since the processes that measure other engines do not need torch.
        from archon.engine.sampling.request import GenerationRequest
        from archon.engine.sampling.sampler import SamplingRule

        rng = random.Random(seed)

        def tokens(count: int) -> list[int]:
            return [rng.randrange(vocab_size) for _ in range(count)]

        shared = tokens(self.shared_prefix_tokens)
        num_unshared = self.prompt_tokens - self.shared_prefix_tokens
        return [
            GenerationRequest(
                prompt_ids=tuple(shared + tokens(num_unshared)),
                draws=tuple(range(self.samples_per_prompt)),
                seed=seed,
                rule=SamplingRule(temperature=0.8, top_k=40),
                max_tokens=self.new_tokens,
            )
            for _ in range(self.num_prompts)
        ]
