"""Train an adapter and a reward head jointly.

Training starts with a head that was fitted to the frozen model. With a random head, the first
gradients would distort the pretrained features (Kumar et al. 2022, arXiv 2202.10054).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
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
from archon.train.lora import adapter_of, add_adapter
from archon.train.loss_objective import LossSteps
from archon.train.mixed_precision import SAVED_DTYPE, autocast, round_frozen
from archon.train.optimization import LossPart, schedule_of
from archon.train.packing import make_batch, pack_once
from archon.train.probe import loss_of
from archon.train.reward_data import ReplyDataset, tokenize_replies
from archon.train.sft_data import Text
from archon.train.splits import batches


class RewardDecoder(nn.Module):
    """A trainable decoder with a reward head.

    Parameters
    ----------
    weight_E, bias
        Initial head.
    dtype
        Number format of the decoder's products; the head is computed in float32.
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
        """Return the logit of each text, (N,), computed from the hidden state of its last token.

        Parameters
        ----------
        texts
            Token ids of N texts.
        context
            Maximum number of tokens in a packed row.
        """
        device = self.head.weight.device
        # The last token of a packed text is not read, since it is only a target. An additional
        # token at the end ensures that all tokens of the text are read.
        packed = [Text((*ids, 0), len(ids) + 1, 0) for ids in texts]
        rows = pack_once(packed, context)
        batch = make_batch(rows, context).to(device)
        index = {id(text): n for n, text in enumerate(chain.from_iterable(rows))}
        b_N, t_N = batch.end_N2[[index[id(text)] for text in packed]].unbind(1)
        with autocast(self._dtype, device):
            hidden_BTE = self.decoder(batch.token_BT, batch.position_BT, batch.text_BT)
            hidden_NE = hidden_BTE[b_N, t_N]
        logit_N1: Tensor = self.head(hidden_NE.float())
        return logit_N1[:, 0]


class AdapterSteps:
    """Joint training of an adapter and a head; its ``steps`` attribute takes the steps.

    A training unit is one reply if the replies were judged, and a pair if they were compared.

    Parameters
    ----------
    learn
        Replies to learn from.
    head
        Initial head.

    Raises
    ------
    UsageError
        No training unit fits in rows of ``lora.context`` tokens.
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
        lora = spec.lora
        assert lora is not None
        self._seed, self._lora, self._learn, self._card_name = spec.seed, lora, learn, card.name
        base = open_base(card, card_dir)
        decoder = decoder_of(base.source)
        context = card.context or decoder.config.context_length
        self._texts = tokenize_replies(learn, base.chat, base.tokenizer, base.end, context)
        units: list[tuple[int, ...]] = [*learn.pairs] or [(i,) for i in range(len(learn.replies))]
        fits = [len(ids) <= lora.context for ids in self._texts]
        self._units = [unit for unit in units if all(fits[i] for i in unit)]
        self.num_left_out = len(units) - len(self._units)
        if not self._units:
            raise UsageError(
                f"no reply or pair of replies fits in {lora.context} tokens together with its "
                "prompt; choose a larger 'lora.context'"
            )
        add_adapter(decoder, lora.targets, lora.rank, lora.alpha, lora.dropout, spec.seed)
        model = RewardDecoder(decoder, head.weight_E, head.bias, lora.dtype)
        round_frozen(model, lora.dtype, device)
        self._model = model.to(device)
        self._model.decoder.checkpoints = lora.checkpoint_layers
        self.steps = LossSteps(self._model, schedule_of(lora), spec.seed, self._losses)

    def save(self, path: Path) -> RewardHead:
        """Write the adapter to a folder; return the jointly trained head."""
        self._model.eval()
        adapter, lora = adapter_of(self._model.decoder), self._lora
        dtype = SAVED_DTYPE[lora.dtype]
        write_adapter(adapter, path, base=self._card_name, dropout=lora.dropout, dtype=dtype)
        head = self._model.head
        weight_E, bias = head.weight.detach().float().cpu()[0], float(head.bias.detach())
        return RewardHead(self._learn.goal, weight_E, bias, self._card_name)

    def _losses(self, num_taken: int) -> Iterator[list[LossPart]]:
        """Yield a loss function for each step after the first ``num_taken`` steps."""
        order = batches(self._units, self._lora.batch, f"batches/{self._seed}", num_taken)
        return ([partial(self._loss, units)] for units in order)

    def _loss(self, units: Sequence[tuple[int, ...]]) -> Tensor:
        """Return the mean loss of these training units, a scalar in nats."""
        learn, indices = self._learn, list(chain.from_iterable(units))
        correct = tuple(learn.correct[i] for i in indices) if learn.correct else ()
        pairs = tuple((2 * i, 2 * i + 1) for i in range(len(units))) if learn.pairs else ()
        batch = ReplyDataset(learn.goal, tuple(learn.replies[i] for i in indices), correct, pairs)
        logit_N = self._model([self._texts[i] for i in indices], self._lora.context)
        return loss_of(batch)(logit_N)
