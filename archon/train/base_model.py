"""The base model of a training: opened by its card, made trainable, saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from archon.engine.files.folder import ModelFolder
from archon.engine.loading import open_model
from archon.engine.model.config import ModelFile
from archon.engine.model.lora import Adapter
from archon.engine.model.lora_config import read_adapter, write_adapter
from archon.engine.model.weights import WeightSource, weights_of
from archon.errors import UsageError
from archon.graph.exemplars import with_absolute_pool
from archon.lm.local.chat import ChatFormat
from archon.lm.local.reward import end_of_reply
from archon.lm.local.tokenizer import TextTokenizer, TokenizerConfig, read_tokenizer_config
from archon.lm.thinking import switches, template_variables
from archon.spec import catalog
from archon.spec.model import LocalCard, PathSource
from archon.spec.training import DPOSpec, GRPOSpec, PPOSpec, SFTSpec
from archon.train.decoder import TrainableDecoder, decoder_of
from archon.train.folder import ADAPTER, MODEL
from archon.train.lora import WRITTEN_IN, adapter_of, add_adapter, resume_adapter
from archon.train.mixed_precision import round_frozen
from archon.train.model_folder import copy_text_files, save_decoder, save_text_rules
from archon.weights import pull

Card = dict[str, Any]
TunedSpec = SFTSpec | DPOSpec | GRPOSpec | PPOSpec
_KEPT = {
    "sampling",
    "license",
    "context",
    "thinking",
    "template_variables",
    "chat_template_kwargs",
    "max_thinking_tokens",
    "reasoning_markers",
}
"""Keys that the card of a fully trained model takes over from its base."""


@dataclass(frozen=True)
class Base:
    """A decoder of a card: its weights, and how it reads and writes text."""

    card: LocalCard
    card_dir: Path
    file: ModelFile
    source: WeightSource
    adapter: Adapter | None
    rules: TokenizerConfig
    tokenizer: TextTokenizer
    chat: ChatFormat
    end: int
    """The token that ends an answer."""

    def trainable(self, spec: TunedSpec, device: torch.device) -> TrainableDecoder:
        """The decoder, on a device, with gradients for what is trained; what is frozen is rounded
        to bf16 where products are to be computed in it.

        Raises
        ------
        UsageError
            The model has no such layers, or an adapter already.
        ModelFileError
            The card's adapter is for another model.
        """
        model = decoder_of(self.source)
        if self.adapter is not None:
            if spec.lora is not None or spec.last_layers is not None:
                raise UsageError(
                    f"{self.card.name} has an adapter: without 'lora' and 'last_layers', training "
                    "goes on with that"
                )
            resume_adapter(model, self.adapter)
        elif spec.lora is not None:
            lora = spec.lora
            add_adapter(model, lora.targets, lora.rank, lora.alpha, lora.dropout, spec.seed)
        elif spec.last_layers is not None:
            num_layers = model.config.num_layers
            if spec.last_layers > num_layers:
                raise UsageError(f"the model has {num_layers} layers, not {spec.last_layers}")
            model.requires_grad_(False)
            model.model.layers[num_layers - spec.last_layers :].requires_grad_(True)
            model.model.norm.requires_grad_(True)
        round_frozen(model, spec.dtype, device)
        return model.to(device)

    @property
    def template_variables(self) -> dict[str, object]:
        """Variables of the chat template, as the card asks for reasoning or for none."""
        return template_variables(self.card.thinking_params(), switches(self.chat.template))

    def trains_adapter(self, spec: TunedSpec) -> bool:
        """Whether an adapter is trained, and the weights below it stay."""
        return spec.lora is not None or self.adapter is not None

    def save(self, model: TrainableDecoder, spec: TunedSpec, folder: Path, card: Card) -> Card:
        """Write what was trained into a folder; returns the card that runs it.

        Parameters
        ----------
        card
            What the card of a whole model says; an adapter's is that of its base.
        """
        dtype = WRITTEN_IN[spec.dtype]
        if self.trains_adapter(spec):
            dropout = 0.0 if spec.lora is None else spec.lora.dropout
            write_adapter(
                adapter_of(model), folder / ADAPTER, base=self.card.name, dropout=dropout,
                dtype=dtype,
            )  # fmt: skip
            return base_card(self.card, self.card_dir) | {
                "name": spec.name, "description": spec.description, "adapter": f"./{ADAPTER}",
            }  # fmt: skip
        save_decoder(model, folder / MODEL, dtype)
        if isinstance(self.file, ModelFolder):
            copy_text_files(self.file, folder / MODEL)
        else:
            save_text_rules(self.rules, folder / MODEL)
        kept = self.card.model_dump(mode="json", exclude_none=True, include=_KEPT)
        return card | kept | {"precision": self.card.precision}


def open_base(card: LocalCard, card_dir: Path) -> Base:
    """Open the model of a card, fetched where it is not here yet.

    Parameters
    ----------
    card_dir
        Where relative paths in the card start.

    Raises
    ------
    ModelError
        The weights cannot be had or run.
    UsageError
        The model is none that writes.
    """
    if card.transformer != "decoder":
        raise UsageError(f"{card.name} is no decoder, which alone can be fine-tuned")
    if card.reward is not None:
        raise UsageError(f"{card.name} scores texts and writes none")
    path = pull(card, card_dir)
    file = open_model(path)
    rules = read_tokenizer_config(file)
    tokenizer = TextTokenizer(rules)
    end = end_of_reply(rules)
    adapter = None
    if card.adapter is not None:
        adapter = read_adapter(catalog.find_adapter(card.adapter, card_dir))
    chat = ChatFormat(rules, tokenizer)
    return Base(card, card_dir, file, weights_of(file), adapter, rules, tokenizer, chat, end)


def base_card(card: LocalCard, card_dir: Path) -> Card:
    """The card as data, its paths no longer relative to its own folder."""
    data: Card = json.loads(card.model_dump_json(exclude_none=True))
    for source, stated in zip(card.sources, data["sources"], strict=True):
        if isinstance(source, PathSource):
            stated["path"] = str((card_dir / source.path).absolute())
    if card.adapter is not None and catalog.is_path(card.adapter):
        data["adapter"] = str((card_dir / card.adapter).absolute())
    if card.prompt is not None:
        prompt = with_absolute_pool(card.prompt, card_dir)
        data["prompt"] = prompt.model_dump(mode="json", exclude_none=True)
    return data
