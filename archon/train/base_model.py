"""The base model of a training run: open it from its card, make it trainable, and save it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from archon.engine.files.folder import ModelFolder
from archon.engine.loading import open_adapter, open_model
from archon.engine.model.config import ModelFile, config_of
from archon.engine.model.lora import Adapter
from archon.engine.model.lora_config import write_adapter
from archon.engine.model.weights import WeightSource, weights_of
from archon.errors import UsageError
from archon.graph.absolute_paths import absolute_card
from archon.lm.local.chat import ChatFormat
from archon.lm.local.reward import end_of_reply
from archon.lm.local.tokenizer import TextTokenizer, TokenizerConfig, read_tokenizer_config
from archon.lm.thinking import switches, template_variables
from archon.spec import catalog
from archon.spec.model import LocalCard
from archon.spec.training import TunedSpec
from archon.train.decoder import TrainableDecoder, decoder_of
from archon.train.folder import ADAPTER, MODEL, Card
from archon.train.lora import adapter_of, add_adapter, resume_adapter
from archon.train.mixed_precision import SAVED_DTYPE, round_frozen
from archon.train.model_folder import can_save, copy_tokenizer_files, save_decoder, save_tokenizer
from archon.weights import pull

_INHERITED_KEYS = {
    "sampling",
    "license",
    "context",
    "thinking",
    "template_variables",
    "chat_template_kwargs",
    "max_thinking_tokens",
    "reasoning_markers",
}
"""Keys that the new card copies from the base model's card if no adapter is trained."""


@dataclass(frozen=True)
class Base:
    """The decoder of a card, with its weights, tokenizer and chat template."""

    card: LocalCard
    card_dir: Path
    file: ModelFile
    source: WeightSource
    adapter: Adapter | None
    rules: TokenizerConfig
    tokenizer: TextTokenizer
    chat: ChatFormat
    end: int
    """Token that ends a reply."""

    def trainable(self, spec: TunedSpec, device: torch.device) -> TrainableDecoder:
        """Return the decoder on ``device``, with gradients for the parameters to train.

        Frozen matrices are rounded to the number format of the matrix products (``round_frozen``).

        Raises
        ------
        UsageError
            The configuration names layers that the model does not have. Or it selects parameters
            although the model already has an adapter, which is then what is trained.
        ModelFileError
            The card's adapter is for another model.
        """
        if not (self.trains_adapter(spec) or can_save(self.source.config, self.file)):
            raise UsageError(
                f"{self.card.name}: all weights of a {self.source.config.family} model in a GGUF "
                "file cannot be trained, since its configuration could not be saved; train an "
                "adapter ('lora'), or start from the model's folder"
            )
        model = decoder_of(self.source)
        if self.adapter is not None:
            if spec.lora is not None or spec.last_layers is not None:
                raise UsageError(
                    f"{self.card.name} already has an adapter, which this training run would "
                    "continue to train; remove 'lora' and 'last_layers'"
                )
            resume_adapter(model, self.adapter)
        elif spec.lora is not None:
            lora = spec.lora
            add_adapter(model, lora.targets, lora.rank, lora.alpha, lora.dropout, spec.seed)
        elif spec.last_layers is not None:
            num_layers = model.config.num_layers
            if spec.last_layers > num_layers:
                raise UsageError(
                    f"'last_layers' is {spec.last_layers}, but {self.card.name} has {num_layers} "
                    "layers"
                )
            model.requires_grad_(False)
            model.model.layers[num_layers - spec.last_layers :].requires_grad_(True)
            model.model.norm.requires_grad_(True)
        round_frozen(model, spec.dtype, device)
        return model.to(device)

    @property
    def template_variables(self) -> dict[str, object]:
        """Chat template variables that turn reasoning on or off, as specified in the card."""
        return template_variables(self.card.thinking_params(), switches(self.chat.template))

    def trains_adapter(self, spec: TunedSpec) -> bool:
        """Return whether an adapter is trained while the model's own weights are frozen."""
        return spec.lora is not None or self.adapter is not None

    def save(self, model: TrainableDecoder, spec: TunedSpec, folder: Path, card: Card) -> Card:
        """Write the trained parameters to a folder; return a card for the trained model.

        Parameters
        ----------
        card
            Card to complete if no adapter is trained. If an adapter is trained, the base model's
            card is used instead.
        """
        dtype = SAVED_DTYPE[spec.dtype]
        if self.trains_adapter(spec):
            dropout = 0.0 if spec.lora is None else spec.lora.dropout
            write_adapter(
                adapter_of(model), folder / ADAPTER, base=self.card.name, dropout=dropout,
                dtype=dtype,
            )  # fmt: skip
            return base_card(self.card, self.card_dir) | {
                "name": spec.name, "description": spec.description, "adapter": f"./{ADAPTER}",
            }  # fmt: skip
        source = self.file if isinstance(self.file, ModelFolder) else None
        save_decoder(model, folder / MODEL, dtype, source)
        if isinstance(self.file, ModelFolder):
            copy_tokenizer_files(self.file, folder / MODEL)
        else:
            save_tokenizer(self.rules, folder / MODEL)
        inherited = self.card.model_dump(mode="json", exclude_none=True, include=_INHERITED_KEYS)
        return card | inherited | {"precision": self.card.precision}


def open_base(card: LocalCard, card_dir: Path) -> Base:
    """Open the model of a card; download its weights if they are not in the cache.

    Parameters
    ----------
    card_dir
        Folder to which paths in the card are relative.

    Raises
    ------
    ModelError
        The weights are unavailable or cannot be run.
    UsageError
        The model does not generate text.
    """
    if card.transformer != "decoder":
        raise UsageError(f"{card.name} is not a decoder; only decoders can be fine-tuned")
    if card.reward is not None:
        raise UsageError(
            f"{card.name} is a reward model; only models that generate text can be fine-tuned"
        )
    path = pull(card, card_dir)
    file = open_model(path)
    rules = read_tokenizer_config(file)
    tokenizer = TextTokenizer(rules)
    end = end_of_reply(rules)
    adapter = None
    if card.adapter is not None:
        adapter = open_adapter(catalog.find_adapter(card.adapter, card_dir), config_of(file))
        if adapter.must_be_merged:
            raise UsageError(
                f"{card.name} has an adapter with DoRA, saved modules, biases or an embedding, "
                "which cannot be trained further; merge it with peft and train the result"
            )
    chat = ChatFormat(rules, tokenizer)
    return Base(card, card_dir, file, weights_of(file), adapter, rules, tokenizer, chat, end)


def base_card(card: LocalCard, card_dir: Path) -> Card:
    """Return a card as JSON data, with absolute paths."""
    data: Card = json.loads(absolute_card(card, card_dir).model_dump_json(exclude_none=True))
    return data
