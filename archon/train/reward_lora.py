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

from archon.engine.adapter import write_adapter
from archon.engine.loading import choose_device
from archon.engine.reward_head import RewardHead, read_reward_head
from archon.errors import UsageError
from archon.spec.model import LocalCard
from archon.spec.training import DType, RewardSpec
from archon.train.base import open_base
from archon.train.decoder import TrainableDecoder, decoder_of
from archon.train.folder import ADAPTER, REWARD, TrainingFolder
from archon.train.loop import Training, schedule_of
from archon.train.lora import WRITTEN_IN, adapter_of, add_adapter
from archon.train.order import rounds
from archon.train.packing import make_batch, pack_once
from archon.train.precision import autocast, round_frozen
from archon.train.probe import loss_of
from archon.train.replies import Replies
from archon.train.reply_tokens import token_ids
from archon.train.steps import OnProgress
from archon.train.supervised import take_gradient_steps
from archon.train.texts import Text


class RewardModel(nn.Module):
    """A decoder and a head with gradients.

    Parameters
    ----------
    weight_E, bias : of the head to begin with.
    dtype : what the decoder's products are computed in; the head's is in float32.
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


class AdapterTraining:
    """The steps of one training; the folder keeps where they stand, adapter and curve.

    Parameters
    ----------
    folder : holds the head to begin with.
    """

    def __init__(
        self,
        spec: RewardSpec,
        card: LocalCard,
        card_dir: Path,
        learn: Replies,
        folder: TrainingFolder,
        on_progress: OnProgress,
    ) -> None:
        assert spec.lora is not None
        self._spec, self._lora, self._folder = spec, spec.lora, folder
        self._card, self._on_progress = card, on_progress
        lora = spec.lora
        base = open_base(card, card_dir)
        model = decoder_of(base.source)
        context = card.context or model.config.context_length
        self._texts = token_ids(learn, base.chat, base.tokenizer, base.end, context)
        self._learn = learn
        units = _units(learn)
        fits = [len(ids) <= lora.context for ids in self._texts]
        self._units = [unit for unit in units if all(fits[place] for place in unit)]
        self._num_left_out = len(units) - len(self._units)
        if not self._units:
            raise UsageError(f"no reply fits {lora.context} tokens; give a larger context")
        add_adapter(model, lora.targets, lora.rank, lora.alpha, lora.dropout, spec.seed)
        head = read_reward_head(folder.path / REWARD)
        self._model = RewardModel(model, head.weight_E, head.bias, lora.dtype)
        self._device = choose_device()
        round_frozen(self._model, lora.dtype, self._device)

    def run(self) -> RewardHead:
        """Take the steps that are left; writes the adapter, returns the head that goes with it.

        Raises
        ------
        KeyboardInterrupt : after the step that was under way; the state is saved.
        UsageError : the loss is no number any more.
        StorageError : the disk does not take the state.
        """
        lora, record = self._lora, self._folder.record
        model = self._model.to(self._device)
        model.decoder.checkpoints = lora.checkpoint_layers
        training = Training(model, schedule_of(lora))
        match self._folder.read_state():
            case tensors, {"kind": "adapter", "curve": curve}:
                training.restore(tensors, curve)
        record |= {
            "trained_parameters": training.num_trained,
            "too_long": self._num_left_out,
        }
        self._steps(training)
        record["loss"] = [round(x, 4) for x in training.curve[:: max(lora.steps // 50, 1)]]
        adapter = adapter_of(model.decoder)
        path = self._folder.path / ADAPTER
        dtype = WRITTEN_IN[lora.dtype]
        write_adapter(adapter, path, base=self._card.name, dropout=lora.dropout, dtype=dtype)
        weight_E = model.head.weight.detach().float().cpu()[0]
        bias = float(model.head.bias.detach())
        return RewardHead(self._learn.goal, weight_E, bias, self._card.name)

    def _steps(self, training: Training) -> None:
        lora, spec, record = self._lora, self._spec, self._folder.record

        def save() -> None:
            self._folder.save_state(training.state(), {"kind": "adapter", "curve": training.curve})
            self._folder.write_record()
            self._folder.draw(spec.name, training.curve, {})

        def tell(step: int, loss: float) -> None:
            self._on_progress(f"training, loss {loss:.3f}", step + 1, lora.steps)

        batches = islice(self._batches(), training.num_steps, None)
        losses = ([partial(self._loss, batch)] for batch in batches)
        training.model.train()
        take_gradient_steps(training, losses, spec.seed, record, save, lora.save_every, tell)
        training.model.eval()

    def _loss(self, units: Sequence[tuple[int, ...]]) -> Tensor:
        """The mean loss of some replies, or of some pairs of them."""
        lora, learn = self._lora, self._learn
        places = [place for unit in units for place in unit]
        correct = tuple(learn.correct[place] for place in places) if learn.correct else ()
        pairs = tuple((2 * i, 2 * i + 1) for i in range(len(units))) if learn.pairs else ()
        known = Replies(learn.goal, tuple(learn.replies[p] for p in places), correct, pairs)
        logit_N = self._model([self._texts[place] for place in places], lora.context)
        return loss_of(known)(logit_N)

    def _batches(self) -> Iterator[list[tuple[int, ...]]]:
        """Batches without end: each unit once in every round, in an order of its own."""
        units = chain.from_iterable(rounds(self._units, f"batches/{self._spec.seed}"))
        while True:
            yield list(islice(units, self._lora.batch))


def _units(learn: Replies) -> list[tuple[int, ...]]:
    """What a gradient is made of: the places of single replies, or of pairs."""
    return list(learn.pairs) or [(i,) for i in range(len(learn.replies))]
