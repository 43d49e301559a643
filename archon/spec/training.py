"""Schema of training files: pretraining, fine-tuning, preferences, reward models and reinforcement.

The base classes of the specs are ``BaseTrainingSpec`` (steps and rows), ``TextTrainingSpec`` (given
texts) and ``TunedSpec`` (an existing model). ``archon.train.objectives`` implements each kind.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, StrictStr, Tag, field_validator, model_validator

from archon.spec.common import (
    Count,
    CountOrZero,
    Name,
    PromptSpec,
    StrictModel,
    Version,
    key_discriminator,
)


def _warmup(most: int) -> Any:
    """Return the field of a warm-up's steps.

    The default is a share of all steps, so that the rate rises and falls in short trainings too.
    """
    return Field(
        default_factory=lambda known: min(known.get("steps", 0) // 10, most),
        description="Steps in which the rate rises to its greatest; by default a tenth of all, at "
        f"most {most}.",
    )


def _check_warmup(spec: Any) -> Any:
    if spec.warmup_steps > spec.steps:
        raise ValueError(
            f"'warmup_steps' is {spec.warmup_steps}, more than the {spec.steps} 'steps'; the "
            "learning rate would never reach its peak"
        )
    return spec


DType = Literal["float32", "bf16"]
"""Number format of matrix products in training."""


class JsonlData(StrictModel):
    """Texts of a JSONL file."""

    path: Name = Field(
        description="Each line {prompt, completion} or {messages}; for pretraining {text}. A "
        "relative path starts at this file's own."
    )


class RuleData(StrictModel):
    """Texts that a rule of our own makes."""

    rule: Literal["chain-sums", "sums"] = Field(
        description="`chain-sums`: sums of several terms, worked digit by digit; none of them is "
        "in a benchmark's select or test split. `sums`: a + b as plain text, for pretraining."
    )
    items: int = Field(ge=1, le=10_000_000, description="Different texts.")
    seed: int = 0


Data = Annotated[
    Annotated[JsonlData, Tag("JsonlData")] | Annotated[RuleData, Tag("RuleData")],
    key_discriminator({"path": JsonlData, "rule": RuleData}),
]


class LoRASpec(StrictModel):
    """A low-rank adapter (Hu et al. 2021, arXiv 2106.09685)."""

    rank: Count = 16
    alpha: float = Field(32, gt=0, description="The adapter's share is alpha / rank.")
    dropout: float = Field(0, ge=0, lt=1, description="Share of its inputs left out in training.")
    targets: list[Name] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        min_length=1,
        description="Ends of names of linear layers; lm_head is one, too.",
    )


class DecoderShape(StrictModel):
    """The decoder that pretraining makes."""

    # The keys of archon.engine.model.families.FAMILIES, which would import torch; a test compares.
    family: Literal["llama", "qwen2", "qwen3", "olmo2"] = "llama"
    num_layers: Count
    width: Count
    ffn_width: Count
    num_heads: Count
    num_kv_heads: Count
    context_length: int = Field(
        512, ge=16, le=1_000_000, description="Tokens that it will be let read and write."
    )
    vocabulary: int = Field(
        258, ge=258, le=1_000_000, description="Tokens: the 256 bytes and two marks; then merges."
    )


class BaseTrainingSpec(StrictModel):
    """Keys that all trainings in packed rows have: data sizes, schedule, number format."""

    version: Version = 1
    name: Name
    description: str = ""
    held_out: CountOrZero = Field(100, description="Texts to measure by, never learnt.")
    context: int = Field(512, ge=8, le=1_000_000, description="Tokens of a row of packed texts.")
    rows: Count = Field(8, description="Rows computed at once.")
    steps: int = Field(ge=1, le=10_000_000)
    learning_rate: float = Field(gt=0, description="The greatest, at the end of the warm-up.")
    warmup_steps: CountOrZero = _warmup(100)
    weight_decay: float = Field(0.01, ge=0)
    max_gradient_norm: float = Field(1, gt=0, description="Longer gradients are shortened to it.")
    dtype: DType = Field(
        "float32",
        description="What products are computed in, bf16 where the device is fast at it; what is "
        "trained is kept in float32.",
    )
    checkpoint_layers: bool = Field(
        False, description="Compute each layer twice and keep less: memory for time."
    )
    save_every: Count = Field(100, description="Steps between two saved states.")
    seed: int = 0

    _warmup_ends = model_validator(mode="after")(_check_warmup)


class TextTrainingSpec(BaseTrainingSpec):
    """Keys that trainings on given texts share."""

    data: Data
    samples: CountOrZero = Field(3, description="Held-out texts answered before and after.")
    sample_tokens: Count = Field(128, description="Tokens of such an answer at most.")
    accumulate: Count = Field(1, description="So many times `rows` make one step's gradient.")


class TunedSpec(BaseTrainingSpec):
    """Keys that trainings of an existing model share: its card, and the parameters to train.

    All parameters are trained unless `lora` or `last_layers` is given. If the card has an adapter,
    training continues with it.
    """

    model: Name = Field(description="A model card, by name or path.")
    lora: LoRASpec | None = None
    last_layers: Count | None = Field(None, description="Train these and the last norm alone.")

    @model_validator(mode="after")
    def _lora_or_layers(self) -> TunedSpec:
        if self.lora is not None and self.last_layers is not None:
            raise ValueError("give either 'lora' or 'last_layers', not both")
        return self


class PretrainSpec(TextTrainingSpec):
    """A decoder learns to continue texts, from nothing."""

    training: Literal["pretrain"]
    decoder: DecoderShape


class SFTSpec(TunedSpec, TextTrainingSpec):
    """A model learns to answer as the completions do; the prompts are not learnt."""

    training: Literal["sft"]


class ClassifySpec(BaseTrainingSpec):
    """A new head on an encoder learns to tell the classes of texts."""

    training: Literal["classify"]
    model: Name = Field(description="The card of an encoder, by name or path.")
    data: JsonlData = Field(
        description="Each line {text, label}, or {prompt, completion, label} of pairs of texts. A "
        "label is a string or a whole number; classes are put in their order."
    )
    context: int = Field(
        512, ge=8, le=1_000_000, description="Tokens of a text, or pair; what is longer is cut."
    )
    good: StrictStr | StrictInt | None = Field(
        None,
        description="Of pairs of two classes, the label of the good one, whose probability is the "
        "reward; 1 if the labels are 0 and 1. Others make no reward model without it.",
    )
    body: Literal["whole", "frozen"] = Field(
        "whole", description="Whether the encoder below the head learns, too."
    )

    @model_validator(mode="after")
    def _no_checkpoints(self) -> ClassifySpec:
        if self.checkpoint_layers:
            raise ValueError("'checkpoint_layers' is for decoders")
        return self


class RepliesFile(StrictModel):
    """Replies of a JSONL file that were judged, or preferred one to another."""

    path: Name = Field(
        description="Each line {prompt, completion, correct}, or each {prompt, chosen, rejected}, "
        "as `archon view` exports a reader's rankings; `messages` may stand for `prompt`, "
        "`question` tell which lines belong together, and `value`, of judged replies, what votes "
        "count. A relative path starts at this file's own."
    )


class SampledReplies(StrictModel):
    """What an architecture writes to a benchmark's search split, judged by its scorer."""

    benchmark: Name
    architecture: Name
    items: Count = Field(description="The first so many of the split.")
    epochs: Count = Field(1, description="Ask each item so often, on fresh draws.")
    seed: int = 0


RepliesData = Annotated[
    Annotated[RepliesFile, Tag("RepliesFile")] | Annotated[SampledReplies, Tag("SampledReplies")],
    key_discriminator({"path": RepliesFile, "benchmark": SampledReplies}),
]


class RewardLoRASpec(LoRASpec):
    """An adapter that is trained with the head, from the head of the frozen body on.

    Where replies were judged, a tenth of the questions to learn from is set aside for what the
    probabilities are fitted to.
    """

    context: int = Field(1024, ge=8, le=1_000_000, description="Tokens of a row of packed texts.")
    batch: Count = Field(16, description="Replies, or pairs of them, of one step's gradient.")
    steps: int = Field(ge=1, le=10_000_000)
    learning_rate: float = Field(1e-4, gt=0)
    warmup_steps: CountOrZero = _warmup(20)
    weight_decay: float = Field(0.01, ge=0)
    max_gradient_norm: float = Field(1, gt=0)
    dtype: DType = "float32"
    checkpoint_layers: bool = False
    save_every: Count = 50

    _warmup_ends = model_validator(mode="after")(_check_warmup)

    @field_validator("targets")
    @classmethod
    def _no_head(cls, targets: list[str]) -> list[str]:
        if "lm_head" in targets:
            raise ValueError(
                "a reward reads the last layer, so 'lm_head' would learn nothing; leave it out"
            )
        return targets


class RewardSpec(StrictModel):
    """A head learns from a model's last hidden state how good a reply is.

    The body stays as it is, and a linear head is fitted to what the engine computes; or `lora`
    trains an adapter with it.
    """

    training: Literal["reward"]
    version: Version = 1
    name: Name
    description: str = ""
    model: Name = Field(description="A model card, by name or path: best the generator's own.")
    data: RepliesData
    goal: Literal["outcome", "preference"] | None = Field(
        None,
        description="What the head tells. `outcome`: whether a reply is right. `preference`: which "
        "of two replies to one question is better. By default what the replies were: judged, or "
        "preferred. Of judged ones the right can be preferred to the wrong; a reader's preferences "
        "judge none.",
    )
    held_out: float = Field(0.2, gt=0, lt=1, description="Share of the questions to measure by.")
    penalties: list[Annotated[float, Field(gt=0)]] = Field(
        [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
        min_length=1,
        description="Of the squares of the head's weights; cross-validation over the other "
        "questions takes the best.",
    )
    lora: RewardLoRASpec | None = None
    seed: int = 0


class DPOSpec(TunedSpec):
    """Chosen replies become likelier than rejected ones, without a reward model.

    Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290).
    """

    training: Literal["dpo"]
    data: RepliesData = Field(
        description="Of judged replies, each right one is chosen over each wrong one to the same "
        "question, up to 64 pairs per question."
    )
    held_out: CountOrZero = Field(100, description="Pairs to measure by, never learned from.")
    pairs: Count = Field(16, description="Pairs of one step's gradient.")
    beta: float = Field(
        0.1,
        gt=0,
        description="How closely the model is held to what it was: rewards are beta times the "
        "change of a reply's log-probability.",
    )


class BenchmarkData(StrictModel):
    """Questions of a benchmark."""

    benchmark: Name = Field(
        description="A benchmark card, by name or path; asked is its search split alone."
    )


Questions = Annotated[
    Annotated[BenchmarkData, Tag("BenchmarkData")]
    | Annotated[JsonlData, Tag("JsonlData")]
    | Annotated[RuleData, Tag("RuleData")],
    key_discriminator({"benchmark": BenchmarkData, "path": JsonlData, "rule": RuleData}),
]


class ScorerReward(StrictModel):
    """1 for a right answer, 0 for any other."""

    score: Name = Field(description="A benchmark's scorer, by its registered name.")


class ModelReward(StrictModel):
    """What a reward model says of the reply."""

    model: Name = Field(description="The card of a reward model, by name or path.")


Reward = Annotated[
    Annotated[ScorerReward, Tag("ScorerReward")] | Annotated[ModelReward, Tag("ModelReward")],
    key_discriminator({"score": ScorerReward, "model": ModelReward}),
]


class _ReinforcedSpec(TunedSpec):
    """Keys of PPO and GRPO.

    Each step samples `group` replies to each of `prompts` questions and learns from their rewards.
    """

    data: Questions = Field(
        description="What it is asked. Lines of a file may lack the completion, which holds the "
        "target of a scorer; what rules make has one."
    )
    reward: Reward | None = Field(None, description="By default the benchmark's scorer.")
    prompt: PromptSpec | None = Field(
        None,
        description="How it is asked; by default a benchmark as by a generator that says nothing, "
        "other questions as they stand.",
    )
    prompts: Count = Field(8, description="Questions of a step.")
    group: Count = Field(8, description="Replies to each.")
    temperature: float = Field(1, gt=0, le=10, description="Of these replies.")
    max_tokens: Count = Field(256, description="Tokens of a reply at most.")
    rollout_precision: Literal["float32", "bf16", "int8", "int4"] | None = Field(
        None,
        description="What the engine draws in; by default the card's own below an adapter, and "
        "float32 where weights change that would have to be rounded anew.",
    )
    epochs: Count = Field(1, description="Times that a step's replies are learnt from.")
    minibatches: Count = Field(1, description="Updates in each of these.")
    clip: float = Field(
        0.2, gt=0, lt=1, description="The likelihood of a token may change by this share in a step."
    )
    kl_coefficient: float = Field(
        0.02, ge=0, description="Holds the model near what it was; 0 asks for no reference."
    )
    importance_cap: float = Field(
        2, ge=1, description="Most that a token counts for being likelier than the engine took it."
    )
    warmup_steps: CountOrZero = _warmup(5)
    weight_decay: float = Field(0, ge=0)
    save_every: Count = Field(10, description="Steps between two saved states.")

    @model_validator(mode="after")
    def _no_dropout(self) -> _ReinforcedSpec:
        if self.lora is not None and self.lora.dropout:
            raise ValueError(
                "'lora.dropout' must be 0: the loss compares probabilities of a token, which "
                "dropout changes at random"
            )
        return self


class GRPOSpec(_ReinforcedSpec):
    """A reply is as good as it is better than the others of its group.

    (Shao et al. 2024, arXiv 2402.03300.)
    """

    training: Literal["grpo"]
    group: int = Field(8, ge=2, le=10_000, strict=True, description="Replies to each.")
    divide_by_deviation: bool = Field(
        False,
        description="Divide by the group's standard deviation, as the paper does: groups that "
        "nearly always or nearly never succeed then weigh more (Liu et al., arXiv 2503.20783).",
    )


class PPOSpec(_ReinforcedSpec):
    """A value head tells how good a reply will be, token by token (Schulman et al. 2017)."""

    training: Literal["ppo"]
    group: Count = Field(4, description="Replies to each.")
    epochs: Count = Field(2, description="Times that a step's replies are learnt from.")
    minibatches: Count = Field(2, description="Updates in each of these.")
    gamma: float = Field(1, gt=0, le=1, description="What a reward is worth a token earlier.")
    gae_lambda: float = Field(
        0.95, ge=0, le=1, description="0 trusts the value head, 1 the rewards alone."
    )
    value_learning_rate: float = Field(1e-3, gt=0)
    value_clip: float = Field(
        0.2, gt=0, description="A value may change by this much in a step and still gain."
    )


AnyTraining = PretrainSpec | SFTSpec | DPOSpec | RewardSpec | GRPOSpec | PPOSpec | ClassifySpec
TrainingSpec = Annotated[AnyTraining, Field(discriminator="training")]
