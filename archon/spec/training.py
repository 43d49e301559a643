"""Training configurations: pretraining, fine-tuning, preferences, rewards and reinforcement.

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

    The default is a share of all steps, so that the rate rises and falls in short trainings, too.
    """
    return Field(
        default_factory=lambda known: min(known.get("steps", 0) // 10, most),
        description="Steps in which the learning rate rises to its peak; by default a tenth of all "
        f"steps, at most {most}.",
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
    """Texts from a JSONL file."""

    path: Name = Field(
        description="Each line is {prompt, completion} or {messages}; for pretraining it is "
        "{text}. A relative path starts at the configuration's folder."
    )


class RuleData(StrictModel):
    """Texts that Archon generates by a rule."""

    rule: Literal["chain-sums", "sums"] = Field(
        description="`chain-sums`: sums of several terms, worked digit by digit; none of them is "
        "in a benchmark's select or test split. `sums`: a + b as plain text, for pretraining."
    )
    items: int = Field(ge=1, le=10_000_000, description="Number of different texts.")
    seed: int = 0


Data = Annotated[
    Annotated[JsonlData, Tag("JsonlData")] | Annotated[RuleData, Tag("RuleData")],
    key_discriminator({"path": JsonlData, "rule": RuleData}),
]


class LoRASpec(StrictModel):
    """A low-rank adapter (Hu et al. 2021, arXiv 2106.09685)."""

    rank: Count = 16
    alpha: float = Field(32, gt=0, description="The adapter's output is scaled by alpha / rank.")
    dropout: float = Field(
        0, ge=0, lt=1, description="Share of the adapter's inputs that training sets to zero."
    )
    targets: list[Name] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        min_length=1,
        description="Linear layers to adapt, by the ends of their names; lm_head is possible, too.",
    )


class DecoderShape(StrictModel):
    """Shape of the decoder that pretraining creates."""

    # The keys of archon.engine.model.families.FAMILIES, which would import torch; a test compares.
    family: Literal["llama", "qwen2", "qwen3", "olmo2"] = "llama"
    num_layers: Count
    width: Count
    ffn_width: Count
    num_heads: Count
    num_kv_heads: Count
    context_length: int = Field(
        512, ge=16, le=1_000_000, description="Context length of the finished model, in tokens."
    )
    vocabulary: int = Field(
        258,
        ge=258,
        le=1_000_000,
        description="Number of tokens: 256 bytes, two special tokens, and learned merges.",
    )


class BaseTrainingSpec(StrictModel):
    """Keys of all trainings in packed rows: data sizes, schedule, number format."""

    version: Version = 1
    name: Name
    description: str = ""
    held_out: CountOrZero = Field(
        100, description="Number of texts for measurements, which are not trained on."
    )
    context: int = Field(
        512, ge=8, le=1_000_000, description="Length of a row of packed texts, in tokens."
    )
    rows: Count = Field(8, description="Number of rows computed together.")
    steps: int = Field(ge=1, le=10_000_000)
    learning_rate: float = Field(gt=0, description="Peak learning rate, after the warm-up.")
    warmup_steps: CountOrZero = _warmup(100)
    weight_decay: float = Field(0.01, ge=0)
    max_gradient_norm: float = Field(
        1, gt=0, description="Larger gradients are scaled down to this norm."
    )
    dtype: DType = Field(
        "float32",
        description="Number format of matrix products. `bf16` is used only on devices where it is "
        "faster. Trained parameters are kept in float32.",
    )
    checkpoint_layers: bool = Field(
        False, description="Compute each layer twice: needs less memory and more time."
    )
    save_every: Count = Field(100, description="Steps between saved states.")
    seed: int = 0

    _warmup_ends = model_validator(mode="after")(_check_warmup)


class TextTrainingSpec(BaseTrainingSpec):
    """Keys of all trainings on given texts."""

    data: Data
    samples: CountOrZero = Field(
        3, description="Number of held-out texts that the model answers before and after training."
    )
    sample_tokens: Count = Field(128, description="Maximum number of tokens of such an answer.")
    accumulate: Count = Field(1, description="Number of batches of `rows` rows per gradient.")


class TunedSpec(BaseTrainingSpec):
    """Keys of all trainings of an existing model: its card, and the parameters to train.

    All parameters are trained unless `lora` or `last_layers` is given. If the card has an adapter,
    training continues with it.
    """

    model: Name = Field(
        description="A local model: a card's name, a path, or a string such as `hf:owner/name`."
    )
    lora: LoRASpec | None = None
    last_layers: Count | None = Field(
        None, description="Train only this number of last layers, and the final norm."
    )

    @model_validator(mode="after")
    def _lora_or_layers(self) -> TunedSpec:
        if self.lora is not None and self.last_layers is not None:
            raise ValueError("give either 'lora' or 'last_layers', not both")
        return self


class PretrainSpec(TextTrainingSpec):
    """Pretraining: a new decoder learns to continue texts."""

    training: Literal["pretrain"]
    decoder: DecoderShape


class SFTSpec(TunedSpec, TextTrainingSpec):
    """Supervised fine-tuning: a model learns the completions, but not the prompts."""

    training: Literal["sft"]


class ClassifySpec(BaseTrainingSpec):
    """Classification: a new head on an encoder learns the classes of texts."""

    training: Literal["classify"]
    model: Name = Field(description="The card of an encoder, by name or path.")
    data: JsonlData = Field(
        description="Each line is {text, label}, or for pairs of texts {prompt, completion, "
        "label}. A label is a string or an integer; classes are ordered by label."
    )
    context: int = Field(
        512,
        ge=8,
        le=1_000_000,
        description="Maximum number of tokens of a text or pair; longer ones are truncated.",
    )
    good: StrictStr | StrictInt | None = Field(
        None,
        description="For pairs of texts in two classes: the label of the good class, whose "
        "probability is the reward. By default 1 if the labels are 0 and 1. Without a good class "
        "the result is not a reward model.",
    )
    body: Literal["whole", "frozen"] = Field(
        "whole",
        description="`whole`: train the encoder and the head. `frozen`: train the head only.",
    )

    @model_validator(mode="after")
    def _no_checkpoints(self) -> ClassifySpec:
        if self.checkpoint_layers:
            raise ValueError("'checkpoint_layers' is for decoders")
        return self


class RepliesFile(StrictModel):
    """Replies from a JSONL file, with judgements or with preferences."""

    path: Name = Field(
        description="Each line is {prompt, completion, correct}, or each line is {prompt, chosen, "
        "rejected}, as `archon view` exports a reader's rankings. `messages` can replace `prompt`. "
        "An optional `question` groups lines. An optional `value` of a judged reply is the value "
        "that a vote counts. A relative path starts at the configuration's folder."
    )


class SampledReplies(StrictModel):
    """Replies of an architecture to a benchmark's search split, judged by the scorer."""

    benchmark: Name
    architecture: Name
    items: Count = Field(description="Number of items, from the beginning of the split.")
    epochs: Count = Field(
        1, description="Number of times that each item is asked, with new samples."
    )
    seed: int = 0


RepliesData = Annotated[
    Annotated[RepliesFile, Tag("RepliesFile")] | Annotated[SampledReplies, Tag("SampledReplies")],
    key_discriminator({"path": RepliesFile, "benchmark": SampledReplies}),
]


class RewardLoRASpec(LoRASpec):
    """An adapter that is trained together with the head.

    The head starts from the one that was fitted to the frozen body. If the replies were judged, a
    tenth of the training questions is set aside, and the probabilities are fitted to it.
    """

    context: int = Field(
        1024, ge=8, le=1_000_000, description="Length of a row of packed texts, in tokens."
    )
    batch: Count = Field(16, description="Number of replies, or of pairs of replies, per gradient.")
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
    """A reward model: a head predicts the quality of a reply from the last hidden state.

    A linear head is fitted to hidden states that the engine computes, and the body does not change.
    With `lora`, an adapter of the body is trained together with the head.
    """

    training: Literal["reward"]
    version: Version = 1
    name: Name
    description: str = ""
    model: Name = Field(
        description="A model card, by name or path; preferably that of the generator."
    )
    data: RepliesData
    goal: Literal["outcome", "preference"] | None = Field(
        None,
        description="The prediction of the head. `outcome`: whether a reply is right. "
        "`preference`: which of two replies to a question is better. By default it follows from "
        "the data, which has judgements or preferences. Judgements also allow `preference`, which "
        "prefers right replies to wrong ones. Preferences do not allow `outcome`.",
    )
    held_out: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share of the questions for measurements, which are not trained on.",
    )
    penalties: list[Annotated[float, Field(gt=0)]] = Field(
        [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
        min_length=1,
        description="Penalties on the squares of the head's weights to try. Cross-validation over "
        "the training questions chooses the best.",
    )
    lora: RewardLoRASpec | None = None
    seed: int = 0


class DPOSpec(TunedSpec):
    """Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290).

    Chosen replies become more likely than rejected ones, without a reward model.
    """

    training: Literal["dpo"]
    data: RepliesData = Field(
        description="If replies were judged, each right one is preferred to each wrong one of the "
        "same question, up to 64 pairs per question."
    )
    held_out: CountOrZero = Field(
        100, description="Number of pairs for measurements, which are not trained on."
    )
    pairs: Count = Field(16, description="Number of pairs per gradient.")
    beta: float = Field(
        0.1,
        gt=0,
        description="A larger value keeps the model closer to the original: rewards are beta times "
        "the change of a reply's log-probability.",
    )


class BenchmarkData(StrictModel):
    """Questions of a benchmark."""

    benchmark: Name = Field(
        description="A benchmark card, by name or path. Only its search split is used."
    )


Questions = Annotated[
    Annotated[BenchmarkData, Tag("BenchmarkData")]
    | Annotated[JsonlData, Tag("JsonlData")]
    | Annotated[RuleData, Tag("RuleData")],
    key_discriminator({"benchmark": BenchmarkData, "path": JsonlData, "rule": RuleData}),
]


class ScorerReward(StrictModel):
    """A reward of 1 for a right answer, and of 0 for any other."""

    score: Name = Field(description="Name of a scorer; see `archon ls scorers`.")


class ModelReward(StrictModel):
    """The reward of the reply by a reward model."""

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
        description="The questions. In a file, the completion is the target of a scorer; lines may "
        "omit it if the reward needs none."
    )
    reward: Reward | None = Field(
        None, description="Source of the rewards; by default the benchmark's scorer."
    )
    prompt: PromptSpec | None = Field(
        None,
        description="Prompt of the questions. By default a benchmark is asked as by a generator "
        "without `prompt`, and other questions are asked unchanged.",
    )
    prompts: Count = Field(8, description="Number of questions per step.")
    group: Count = Field(8, description="Number of replies per question.")
    temperature: float = Field(1, gt=0, le=10, description="Sampling temperature of the replies.")
    max_tokens: Count = Field(256, description="Maximum number of tokens of a reply.")
    rollout_precision: Literal["float32", "bf16", "int8", "int4"] | None = Field(
        None,
        description="Precision in which the engine samples replies. By default the card's if an "
        "adapter is trained; otherwise float32, since other formats would have to round the "
        "weights again after each step.",
    )
    epochs: Count = Field(1, description="Number of passes over the replies of a step.")
    minibatches: Count = Field(1, description="Number of updates per pass.")
    clip: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Clipping range: a step gains nothing from changing the probability of a token "
        "by more than this share.",
    )
    kl_coefficient: float = Field(
        0.02,
        ge=0,
        description="Weight of the divergence from the original model; 0 needs no reference model.",
    )
    importance_cap: float = Field(
        2,
        ge=1,
        description="Upper bound of a token's weight: its probability under the trainer, divided "
        "by its probability under the engine.",
    )
    warmup_steps: CountOrZero = _warmup(5)
    weight_decay: float = Field(0, ge=0)
    save_every: Count = Field(10, description="Steps between saved states.")

    @model_validator(mode="after")
    def _no_dropout(self) -> _ReinforcedSpec:
        if self.lora is not None and self.lora.dropout:
            raise ValueError(
                "'lora.dropout' must be 0: the loss compares probabilities of a token, which "
                "dropout changes at random"
            )
        return self


class GRPOSpec(_ReinforcedSpec):
    """Group relative policy optimization (Shao et al. 2024, arXiv 2402.03300).

    The advantage of a reply is its reward minus the mean reward of its group.
    """

    training: Literal["grpo"]
    group: int = Field(
        8, ge=2, le=10_000, strict=True, description="Number of replies per question."
    )
    divide_by_deviation: bool = Field(
        False,
        description="Divide advantages by the group's standard deviation, as in the paper. Groups "
        "that nearly always or nearly never succeed then weigh more (Liu et al., arXiv "
        "2503.20783).",
    )


class PPOSpec(_ReinforcedSpec):
    """Proximal policy optimization (Schulman et al. 2017, arXiv 1707.06347).

    A value head predicts the reward of a reply at each of its tokens.
    """

    training: Literal["ppo"]
    group: Count = Field(4, description="Number of replies per question.")
    epochs: Count = Field(2, description="Number of passes over the replies of a step.")
    minibatches: Count = Field(2, description="Number of updates per pass.")
    gamma: float = Field(1, gt=0, le=1, description="Discount factor per token.")
    gae_lambda: float = Field(
        0.95,
        ge=0,
        le=1,
        description="λ of generalised advantage estimation: 0 relies on the value head, 1 on the "
        "rewards alone.",
    )
    value_learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the value head.")
    value_clip: float = Field(
        0.2,
        gt=0,
        description="Clipping range: a step gains nothing from changing a value by more than this.",
    )


AnyTraining = PretrainSpec | SFTSpec | DPOSpec | RewardSpec | GRPOSpec | PPOSpec | ClassifySpec
TrainingSpec = Annotated[AnyTraining, Field(discriminator="training")]
