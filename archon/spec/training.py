"""Training configurations: files that describe a training run, with one class per objective.

The base classes are ``BaseTrainingSpec`` (steps and rows), ``TextTrainingSpec`` (training on given
texts) and ``TunedSpec`` (training an existing model). ``archon.train.objectives`` implements the
objectives.
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
    """Return the ``warmup_steps`` field.

    Its default is a tenth of all steps, at most ``most``, so that a short training run has a short
    warm-up.
    """
    return Field(
        default_factory=lambda known: min(known.get("steps", 0) // 10, most),
        description="Number of steps in which the learning rate rises to its peak; by default a "
        f"tenth of all steps, at most {most}.",
    )


def _check_warmup(spec: Any) -> Any:
    if spec.warmup_steps > spec.steps:
        raise ValueError(
            f"'warmup_steps' ({spec.warmup_steps}) must not exceed 'steps' ({spec.steps}); "
            "otherwise the learning rate never reaches its peak"
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
        description="`chain-sums`: sums of several terms, solved digit by digit. None of them is "
        "in the select or test split of a shipped benchmark. `sums`: sums of two numbers as plain "
        "text, for pretraining."
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
    alpha: float = Field(
        32, gt=0, description="Scale of the adapter: its output is multiplied by alpha / rank."
    )
    dropout: float = Field(
        0, ge=0, lt=1, description="Share of the adapter's inputs that are set to zero in training."
    )
    targets: list[Name] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        min_length=1,
        description="Linear layers to adapt, by the ends of their names. `lm_head` is allowed.",
    )


class DecoderShape(StrictModel):
    """Architecture and size of the decoder that pretraining creates."""

    # The keys of archon.engine.model.families.FAMILIES, copied because that module imports torch. A
    # test compares them.
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
        description="Number of tokens in the vocabulary: 256 bytes, two special tokens, and merges "
        "that are learned from the texts.",
    )


class BaseTrainingSpec(StrictModel):
    """Keys of every objective except `reward`: data sizes, learning rate, number format."""

    version: Version = 1
    name: Name
    description: str = ""
    held_out: CountOrZero = Field(
        100, description="Number of texts that are set aside for measuring the loss."
    )
    context: int = Field(
        512, ge=8, le=1_000_000, description="Length of a row of packed texts, in tokens."
    )
    rows: Count = Field(8, description="Number of rows per batch.")
    steps: int = Field(ge=1, le=10_000_000)
    learning_rate: float = Field(gt=0, description="Peak learning rate, after the warm-up.")
    warmup_steps: CountOrZero = _warmup(100)
    weight_decay: float = Field(0.01, ge=0)
    max_gradient_norm: float = Field(
        1, gt=0, description="Maximum norm of the gradient; larger gradients are scaled down to it."
    )
    dtype: DType = Field(
        "float32",
        description="Number format of matrix products. `bf16` is used only on devices where it is "
        "faster. Trained parameters are stored in float32.",
    )
    checkpoint_layers: bool = Field(
        False,
        description="Compute the activations of each layer again in the backward pass, which saves "
        "memory but takes more time.",
    )
    save_every: Count = Field(
        100, description="Number of steps after which the training state is saved."
    )
    seed: int = 0

    _warmup_ends = model_validator(mode="after")(_check_warmup)


class TextTrainingSpec(BaseTrainingSpec):
    """Keys of the objectives that train on given texts: `pretrain` and `sft`."""

    data: Data
    samples: CountOrZero = Field(
        3,
        description="Number of held-out prompts for which the model generates a sample before and "
        "after training.",
    )
    sample_tokens: Count = Field(128, description="Maximum number of tokens of such a sample.")
    accumulate: Count = Field(1, description="Number of batches per gradient step.")


class TunedSpec(BaseTrainingSpec):
    """Keys of the objectives that train an existing model.

    All parameters are trained unless `lora` or `last_layers` is given. If the card has an adapter,
    training continues with the adapter.
    """

    model: Name = Field(
        description="A local model: a card's name, a path, or a string such as `hf:owner/name`."
    )
    lora: LoRASpec | None = None
    last_layers: Count | None = Field(
        None, description="Number of last layers to train, together with the final norm."
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
    """Supervised fine-tuning: a model is trained on completions, but not on prompts."""

    training: Literal["sft"]


class ClassifySpec(BaseTrainingSpec):
    """Classification: an encoder gets a new head that predicts the classes of texts."""

    training: Literal["classify"]
    model: Name = Field(description="Name or path of the model card of an encoder.")
    data: JsonlData = Field(
        description="File of labelled texts. Each line is {text, label}, or {prompt, completion, "
        "label} for pairs of texts. A label is a string or an integer. Classes are sorted by label."
    )
    context: int = Field(
        512,
        ge=8,
        le=1_000_000,
        description="Maximum number of tokens in a text or pair. Longer ones are truncated.",
    )
    good: StrictStr | StrictInt | None = Field(
        None,
        description="Label of the good class, for pairs of texts with two classes. The trained "
        "model is then a reward model whose reward is the probability of this class. The default "
        "is 1 if the labels are 0 and 1; otherwise the result is not a reward model.",
    )
    body: Literal["whole", "frozen"] = Field(
        "whole",
        description="`whole`: train the encoder and the head. `frozen`: train the head only.",
    )

    @model_validator(mode="after")
    def _no_checkpoints(self) -> ClassifySpec:
        if self.checkpoint_layers:
            raise ValueError("'checkpoint_layers' is supported only for decoders")
        return self


class RepliesFile(StrictModel):
    """Replies in a JSONL file, with judgements or with preferences."""

    path: Name = Field(
        description="Either each line is a judgement {prompt, completion, correct}, or each line "
        "is a preference {prompt, chosen, rejected}, which `archon view` exports from a reader's "
        "rankings. `messages` can replace `prompt`. Lines with the same optional `question` belong "
        "together. The optional `value` of a judged reply is the value that votes count. A "
        "relative path starts at the configuration's folder."
    )


class SampledReplies(StrictModel):
    """Replies that an architecture generates to a benchmark's questions, judged by its scorer."""

    benchmark: Name
    architecture: Name
    items: Count = Field(description="Number of items, from the beginning of the search split.")
    epochs: Count = Field(1, description="Number of times to answer each item, with new samples.")
    seed: int = 0


RepliesData = Annotated[
    Annotated[RepliesFile, Tag("RepliesFile")] | Annotated[SampledReplies, Tag("SampledReplies")],
    key_discriminator({"path": RepliesFile, "benchmark": SampledReplies}),
]


class RewardLoRASpec(LoRASpec):
    """An adapter that is trained together with the reward head.

    Training starts with the head that is fitted to the model without the adapter. If the replies
    are judged, a tenth of the training questions is set aside for calibrating the probabilities.
    """

    context: int = Field(
        1024, ge=8, le=1_000_000, description="Length of a row of packed texts, in tokens."
    )
    batch: Count = Field(
        16, description="Number of replies, or of pairs of replies, per gradient step."
    )
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
                "'targets' must not contain 'lm_head', because the reward head reads the hidden "
                "state before it"
            )
        return targets


class RewardSpec(StrictModel):
    """A reward model: a linear head predicts the quality of a reply from the last hidden state.

    The head is fitted to hidden states that the engine computes; the model itself does not change.
    With `lora`, an adapter of the model is trained together with the head.
    """

    training: Literal["reward"]
    version: Version = 1
    name: Name
    description: str = ""
    model: Name = Field(
        description="Name or path of the model card, preferably that of the model that generates "
        "the replies to be scored."
    )
    data: RepliesData
    goal: Literal["outcome", "preference"] | None = Field(
        None,
        description="What the head predicts. `outcome`: whether a reply is correct; needs "
        "judgements. `preference`: which of two replies to a question is better; with judgements, "
        "correct replies are better than wrong ones. The default is `outcome` for judgements and "
        "`preference` for preferences.",
    )
    held_out: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share of the questions that are set aside for measuring the accuracy.",
    )
    penalties: list[Annotated[float, Field(gt=0)]] = Field(
        [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
        min_length=1,
        description="L2 penalties to try on the weights of the head. Cross-validation on the "
        "training questions chooses the best one.",
    )
    lora: RewardLoRASpec | None = None
    seed: int = 0


class DPOSpec(TunedSpec):
    """Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290).

    The model is trained to make chosen replies more likely than rejected ones. No reward model is
    needed.
    """

    training: Literal["dpo"]
    data: RepliesData = Field(
        description="Pairs of replies. From judged replies, each correct reply is paired with each "
        "wrong reply to the same question, up to 64 pairs per question."
    )
    held_out: CountOrZero = Field(
        100, description="Number of pairs that are set aside for measuring the loss."
    )
    pairs: Count = Field(16, description="Number of pairs per gradient step.")
    beta: float = Field(
        0.1,
        gt=0,
        description="Factor of the implicit reward, which is beta times the change of a reply's "
        "log-probability. A larger value keeps the model closer to the original.",
    )


class BenchmarkData(StrictModel):
    """Questions of a benchmark's search split."""

    benchmark: Name = Field(
        description="Name or path of the benchmark card. Only its search split is used."
    )


Questions = Annotated[
    Annotated[BenchmarkData, Tag("BenchmarkData")]
    | Annotated[JsonlData, Tag("JsonlData")]
    | Annotated[RuleData, Tag("RuleData")],
    key_discriminator({"benchmark": BenchmarkData, "path": JsonlData, "rule": RuleData}),
]


class ScorerReward(StrictModel):
    """Reward from a scorer: 1 for a correct answer, otherwise 0."""

    score: Name = Field(description="Name of a scorer; see `archon ls scorers`.")


class ModelReward(StrictModel):
    """Reward from a reward model."""

    model: Name = Field(description="Name or path of the model card of a reward model.")


Reward = Annotated[
    Annotated[ScorerReward, Tag("ScorerReward")] | Annotated[ModelReward, Tag("ModelReward")],
    key_discriminator({"score": ScorerReward, "model": ModelReward}),
]


class _ReinforcedSpec(TunedSpec):
    """Keys of PPO and GRPO.

    Each step samples `group` replies to each of `prompts` questions and learns from their rewards.
    """

    data: Questions = Field(
        description="Questions to train on. In a file, `completion` is the correct answer, which a "
        "scorer compares with; it may be omitted if the reward comes from a reward model."
    )
    reward: Reward | None = Field(
        None, description="Source of the rewards. The default is the benchmark's scorer."
    )
    prompt: PromptSpec | None = Field(
        None,
        description="Prompt for the questions. By default, questions of a benchmark get the same "
        "prompt as in a generator node without `prompt`, and other questions are not changed.",
    )
    prompts: Count = Field(8, description="Number of questions per step.")
    group: Count = Field(8, description="Number of replies per question.")
    temperature: float = Field(1, gt=0, le=10, description="Sampling temperature of the replies.")
    max_tokens: Count = Field(256, description="Maximum number of tokens of a reply.")
    rollout_precision: Literal["float32", "bf16", "int8", "int4"] | None = Field(
        None,
        description="Precision in which the engine samples replies. The default is the card's "
        "precision if an adapter is trained. Otherwise it is float32, since the weights would have "
        "to be quantized again after each step.",
    )
    epochs: Count = Field(1, description="Number of passes over the replies of a step.")
    minibatches: Count = Field(1, description="Number of parameter updates per pass.")
    clip: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Clipping range: the objective does not reward changing the probability of a "
        "token by more than this share in one step.",
    )
    kl_coefficient: float = Field(
        0.02,
        ge=0,
        description="Weight of the KL divergence from the original model. With 0, no reference "
        "model is needed.",
    )
    importance_cap: float = Field(
        2,
        ge=1,
        description="Maximum weight of a token in the loss. The weight is the token's probability "
        "in training divided by its probability in the engine that sampled it.",
    )
    warmup_steps: CountOrZero = _warmup(5)
    weight_decay: float = Field(0, ge=0)
    save_every: Count = Field(
        10, description="Number of steps after which the training state is saved."
    )

    @model_validator(mode="after")
    def _no_dropout(self) -> _ReinforcedSpec:
        if self.lora is not None and self.lora.dropout:
            raise ValueError(
                "'lora.dropout' must be 0, because the loss compares token probabilities, which "
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
        description="Divide advantages by the standard deviation of the group's rewards, as in the "
        "paper. Questions that the model nearly always or nearly never answers correctly then have "
        "a larger weight (Liu et al., arXiv 2503.20783).",
    )


class PPOSpec(_ReinforcedSpec):
    """Proximal policy optimization (Schulman et al. 2017, arXiv 1707.06347).

    A value head predicts the reward of a reply at each of its tokens.
    """

    training: Literal["ppo"]
    group: Count = Field(4, description="Number of replies per question.")
    epochs: Count = Field(2, description="Number of passes over the replies of a step.")
    minibatches: Count = Field(2, description="Number of parameter updates per pass.")
    gamma: float = Field(1, gt=0, le=1, description="Discount factor per token.")
    gae_lambda: float = Field(
        0.95,
        ge=0,
        le=1,
        description="λ of generalised advantage estimation. 0 relies on the value head, 1 only on "
        "the rewards.",
    )
    value_learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the value head.")
    value_clip: float = Field(
        0.2,
        gt=0,
        description="Clipping range: the objective does not reward changing a value by more than "
        "this in one step.",
    )


AnyTraining = PretrainSpec | SFTSpec | DPOSpec | RewardSpec | GRPOSpec | PPOSpec | ClassifySpec
TrainingSpec = Annotated[AnyTraining, Field(discriminator="training")]
