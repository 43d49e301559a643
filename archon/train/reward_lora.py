"""An adapter and a reward head that learn together, from the head of the frozen body on.

Fitting the head first keeps the first gradients from spoiling what the body knows (Kumar et al.
2022, arXiv 2202.10054).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path

import torch
from torch import Tensor, nn

from archon.engine.model.lora_config import write_adapter
from archon.engine.model.reward_head import RewardHead
from archon.errors import UsageError
from archon.spec.model import LocalCard
from archon.spec.training import DType, RewardSpec
from archon.train.base_model import open_base
from archon.train.decoder import TrainableDecoder, decoder_of
from archon.train.lora import WRITTEN_IN, adapter_of, add_adapter
from archon.train.loss_objective import LossSteps
from archon.train.mixed_precision import autocast, round_frozen
from archon.train.optimization import LossPart, schedule_of
from archon.train.packing import make_batch, pack_once
from archon.train.probe import loss_of
from archon.train.reward_data import ReplyDataset, tokenize_replies
from archon.train.sft_data import Text
from archon.train.splits import rounds


class RewardDecoder(nn.Module):
    """A decoder and a head with gradients.

    Parameters
    ----------
    weight_E, bias
        Of the head to begin with.
    dtype
        What the decoder's products are computed in; the head's is in float32.
    """

    def __init__(
        self, decoder: TrainableDecoder, weight_E: Tensor, bias: float, dtype: DType = "float32"
    ) -> None:
        super().__init__()
        self.decoder, self.head, self._dtype = decoder, nn.Linear(len(weight_E), 1), dtype
        with torch.no_grad():
            self.head.weight.copy_(weight_E[None])
            self.head.bias.fill_(bias)

    def forward(self, texts: Sequence[tuple[int, ...]], context: int) -> Tensor:
        """The logit of each text, by the hidden state of its last token: (N,)."""
        device = self.head.weight.device
        # What is packed leaves its last token out, which is to be read here: so one is put behind.
        packed = [Text((*ids, 0), len(ids) + 1, 0) for ids in texts]
        rows = pack_once(packed, context)
        batch = make_batch(rows, context).to(device)
        place = {id(text): n for n, text in enumerate(chain.from_iterable(rows))}
        b_N, t_N = batch.end_N2[[place[id(text)] for text in packed]].unbind(1)
        with autocast(self._dtype, device):
            hidden_BTE = self.decoder(batch.token_BT, batch.position_BT, batch.text_BT)
            hidden_NE = hidden_BTE[b_N, t_N]
        logit_N1: Tensor = self.head(hidden_NE.float())
        return logit_N1[:, 0]


class AdapterSteps:
    """An adapter and the head that is trained with it; ``steps`` are those of both.

    Parameters
    ----------
    head
        To begin with.

    Raises
    ------
    UsageError
        No reply fits a row.
    """

    def __init__(
        self,
        spec: RewardSpec,
        card: LocalCard,
        card_dir: Path,
        learn: ReplyDataset,
        head: RewardHead,
        device: torch.device,
    ) -> None:
        assert spec.lora is not None
        self._seed, self._lora, self._learn = spec.seed, spec.lora, learn
        self._card_name, lora = card.name, spec.lora
        base = open_base(card, card_dir)
        decoder = decoder_of(base.source)
        context = card.context or decoder.config.context_length
        self._texts = tokenize_replies(learn, base.chat, base.tokenizer, base.end, context)
        units = _units(learn)
        fits = [len(ids) <= lora.context for ids in self._texts]
        self._units = [unit for unit in units if all(fits[place] for place in unit)]
        self.num_left_out = len(units) - len(self._units)
        if not self._units:
            raise UsageError(f"no reply fits {lora.context} tokens; give a larger context")
        add_adapter(decoder, lora.targets, lora.rank, lora.alpha, lora.dropout, spec.seed)
        model = RewardDecoder(decoder, head.weight_E, head.bias, lora.dtype)
        round_frozen(model, lora.dtype, device)
        self._model = model.to(device)
        self._model.decoder.checkpoints = lora.checkpoint_layers
        self.steps = LossSteps(self._model, schedule_of(lora), spec.seed, self._losses)

    def save(self, path: Path) -> RewardHead:
        """Write the adapter into a folder; returns the head that goes with it."""
        self._model.eval()
        adapter, lora = adapter_of(self._model.decoder), self._lora
        dtype = WRITTEN_IN[lora.dtype]
        write_adapter(adapter, path, base=self._card_name, dropout=lora.dropout, dtype=dtype)
        head = self._model.head
        weight_E, bias = head.weight.detach().float().cpu()[0], float(head.bias.detach())
        return RewardHead(self._learn.goal, weight_E, bias, self._card_name)

    def _losses(self, num_taken: int) -> Iterator[list[LossPart]]:
        """What computes the loss of each step that is left."""
        for batch in islice(self._batches(), num_taken, None):
            yield [partial(self._loss, batch)]

    def _loss(self, units: Sequence[tuple[int, ...]]) -> Tensor:
        """The mean loss of some replies, or of some pairs of them."""
        lora, learn = self._lora, self._learn
        places = [place for unit in units for place in unit]
        correct = tuple(learn.correct[place] for place in places) if learn.correct else ()
        pairs = tuple((2 * i, 2 * i + 1) for i in range(len(units))) if learn.pairs else ()
        known = ReplyDataset(learn.goal, tuple(learn.replies[p] for p in places), correct, pairs)
        logit_N = self._model([self._texts[place] for place in places], lora.context)
        return loss_of(known)(logit_N)

    def _batches(self) -> Iterator[list[tuple[int, ...]]]:
        """Batches without end: each unit once in every round, in an order of its own."""
        units = chain.from_iterable(rounds(self._units, f"batches/{self._seed}"))
        while True:
            yield list(islice(units, self._lora.batch))


def _units(learn: ReplyDataset) -> list[tuple[int, ...]]:
    """What a gradient is made of: the places of single replies, or of pairs."""
    return list(learn.pairs) or [(i,) for i in range(len(learn.replies))]
