"""The file that tells how a decoder is trained: from nothing, or on from a model card's weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag, model_validator

from archon.spec.common import Count, CountOrZero, Name, StrictModel, Version, told_by_key


class JsonlData(StrictModel):
    """Texts of a JSONL file."""

    path: Name = Field(
        description="Each line {prompt, completion} or {messages}; for pretraining {text}. A "
        "relative path starts at this file's own."
    )


class RuleData(StrictModel):
    """Texts that a rule of our own makes."""

    rule: Literal["chain-sums", "sums"] = Field(
        description="`chain-sums`: sums of several terms, worked one step a line; none of them is "
        "in a benchmark's select or test split. `sums`: a + b as plain text, for pretraining."
    )
    items: int = Field(ge=1, le=10_000_000, description="Different texts.")
    seed: int = 0


Data = Annotated[
    Annotated[JsonlData, Tag("JsonlData")] | Annotated[RuleData, Tag("RuleData")],
    told_by_key({"path": JsonlData, "rule": RuleData}),
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

    family: Literal["llama", "qwen2", "qwen3"] = "llama"
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


class _TrainingSpec(StrictModel):
    """What every training has."""

    version: Version = 1
    name: Name
    description: str = ""
    data: Data
    held_out: CountOrZero = Field(100, description="Texts to measure the loss on, never learnt.")
    samples: CountOrZero = Field(3, description="Of these, answered before and after.")
    sample_tokens: Count = Field(128, description="Tokens of such an answer at most.")
    context: int = Field(512, ge=8, le=1_000_000, description="Tokens of a row of packed texts.")
    rows: Count = Field(8, description="Rows computed at once.")
    accumulate: Count = Field(1, description="So many times `rows` make one step's gradient.")
    steps: int = Field(ge=1, le=10_000_000)
    learning_rate: float = Field(gt=0, description="The greatest, at the end of the warm-up.")
    warmup_steps: CountOrZero = 100
    weight_decay: float = Field(0.01, ge=0)
    max_gradient_norm: float = Field(1, gt=0, description="Longer gradients are shortened to it.")
    dtype: Literal["float32", "bf16"] = Field(
        "float32", description="What products are computed in; what is trained is kept in float32."
    )
    checkpoint_layers: bool = Field(
        False, description="Compute each layer twice and keep less: memory for time."
    )
    save_every: Count = Field(100, description="Steps between two saved states.")
    seed: int = 0


class PretrainSpec(_TrainingSpec):
    """A decoder learns to continue texts, from nothing."""

    training: Literal["pretrain"]
    decoder: DecoderShape


class SFTSpec(_TrainingSpec):
    """A model learns to answer as the completions do; the prompts are not learnt.

    The whole model is trained unless `lora` or `last_layers` says otherwise.
    """

    training: Literal["sft"]
    model: Name = Field(description="A model card, by name or path.")
    lora: LoRASpec | None = None
    last_layers: Count | None = Field(None, description="Train these and the last norm alone.")

    @model_validator(mode="after")
    def _one_way(self) -> SFTSpec:
        if self.lora is not None and self.last_layers is not None:
            raise ValueError("give either 'lora' or 'last_layers', not both")
        return self


class RepliesFile(StrictModel):
    """Replies of a JSONL file that were judged, or preferred one to another."""

    path: Name = Field(
        description="Each line {prompt, completion, correct}, or each {prompt, chosen, rejected}, "
        "as `archon view` exports a reader's rankings; `messages` may stand for `prompt`, and "
        "`question` tell which lines belong together. A relative path starts at this file's own."
    )


class SampledReplies(StrictModel):
    """What an architecture writes to a benchmark's search split, judged by its scorer."""

    benchmark: Name
    architecture: Name
    items: Count = Field(description="The first so many of the split.")
    epochs: Count = Field(1, description="Ask each item so often, on fresh draws.")
    seed: int = 0


class RewardLoRASpec(LoRASpec):
    """An adapter that is trained with the head, from the head of the frozen body on."""

    context: int = Field(1024, ge=8, le=1_000_000, description="Tokens of a row of packed texts.")
    batch: Count = Field(16, description="Replies, or pairs of them, of one step's gradient.")
    steps: int = Field(ge=1, le=10_000_000)
    learning_rate: float = Field(1e-4, gt=0)
    warmup_steps: CountOrZero = 20
    weight_decay: float = Field(0.01, ge=0)
    max_gradient_norm: float = Field(1, gt=0)
    dtype: Literal["float32", "bf16"] = "float32"
    checkpoint_layers: bool = False
    save_every: Count = 50


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
    data: Annotated[
        Annotated[RepliesFile, Tag("RepliesFile")]
        | Annotated[SampledReplies, Tag("SampledReplies")],
        told_by_key({"path": RepliesFile, "benchmark": SampledReplies}),
    ]
    held_out: float = Field(0.2, gt=0, lt=1, description="Share of the questions to measure by.")
    penalties: list[Annotated[float, Field(gt=0)]] = Field(
        [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
        min_length=1,
        description="Of the squares of the head's weights; cross-validation over the other "
        "questions takes the best.",
    )
    lora: RewardLoRASpec | None = None
    seed: int = 0


TrainingSpec = Annotated[PretrainSpec | SFTSpec | RewardSpec, Field(discriminator="training")]
