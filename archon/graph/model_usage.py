"""Usage and compute of an answer, by model.

The compute of an answer is defined like its cost in tokens: each distinct prompt is read once, and
every completion is generated. It therefore does not depend on whether samples came from a pool or
prompts from a cache, and answers of different runs can be compared. Within an answer, tokens that
a cache always finds are left out: those of a prompt that another sample or node has already read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from archon.lm.compute import ComputeModel, ModelUsage, ScoredTexts
from archon.types import Completion, SamplingParams, Usage


@dataclass(slots=True)
class UsageByModel:
    """Sums up what each model did for one answer."""

    models: dict[str, ModelUsage] = field(default_factory=dict)
    """Name of the model → its usage."""
    _prompts: set[str] = field(default_factory=set)

    def add_call(
        self,
        name: str,
        model: ComputeModel | None,
        sampling: SamplingParams,
        completions: Sequence[Completion],
    ) -> None:
        """Add one request to a model with all of its completions; failed ones are unknown work."""
        answered = [completion for completion in completions if completion.error is None]
        for completion in answered:
            self._add(name, _prompt_usage(model, self._new_prompts(completion)))
        if sampling.beams and answered and answered[0].choice_logprobs is None:
            self._add(name, _beam_usage(model, answered, sampling.beams))
            return
        for completion in answered:
            self._add(name, _completion_usage(model, completion))

    def add_scored(self, name: str, scored: Iterable[ScoredTexts]) -> None:
        """Add texts that a reward model or an encoder has read."""
        for texts in scored:
            usage = ModelUsage(
                calls=0, scored_tokens=texts.num_tokens, prompt_compute=0, compute=texts.compute
            )
            self._add(name, usage)

    def _add(self, name: str, usage: ModelUsage) -> None:
        self.models[name] = self.models.get(name, ModelUsage()) + usage

    def _new_prompts(self, completion: Completion) -> list[int]:
        """Return the tokens of the prompts that no earlier completion has read."""
        new = {d: n for d, n in completion.prompts.items() if d not in self._prompts}
        self._prompts |= new.keys()
        return list(new.values())


def _prompt_usage(model: ComputeModel | None, prompts: Sequence[int]) -> ModelUsage:
    if model is None or 0 in prompts:  # a server did not count the tokens
        unknown = None if prompts else 0
        return ModelUsage(prompt_tokens=sum(prompts), prompt_compute=unknown, compute=unknown)
    compute = sum(map(model.prompt, prompts))
    return ModelUsage(
        prompt_tokens=sum(prompts),
        prompt_compute=compute,
        compute=compute,
        is_estimate=model.is_estimate,
    )


def _completion_usage(model: ComputeModel | None, completion: Completion) -> ModelUsage:
    usage = completion.usage
    return ModelUsage(
        calls=usage.calls,
        completion_tokens=usage.completion_tokens,
        choice_tokens=usage.choice_tokens,
        compute=None if model is None else generated_compute(model, completion),
        is_estimate=model is not None and model.is_estimate,
    )


def generated_compute(model: ComputeModel, completion: Completion) -> int | None:
    """Return the compute of a completion without its prompt; None if its tokens are unknown."""
    usage = completion.usage
    if completion.choice_logprobs is not None:
        num_choices = len(completion.choice_logprobs)
        return model.choices(usage.prompt_tokens, usage.choice_tokens, num_choices)
    if not usage.completion_tokens and (completion.text or completion.reasoning):
        return None  # a server did not count the tokens
    return model.completion(usage.prompt_tokens, usage.completion_tokens)


def _beam_usage(
    model: ComputeModel | None, completions: Sequence[Completion], beams: int
) -> ModelUsage:
    """Return the usage of one beam search: every beam up to the length of its longest text."""
    total = sum((completion.usage for completion in completions), Usage())
    longest = max(completion.usage.completion_tokens for completion in completions)
    prompt_tokens = completions[0].usage.prompt_tokens
    return ModelUsage(
        calls=total.calls,
        completion_tokens=total.completion_tokens,
        compute=None if model is None else beams * model.completion(prompt_tokens, longest),
        is_estimate=model is not None,
    )
