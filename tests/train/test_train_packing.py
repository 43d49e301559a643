from __future__ import annotations

from itertools import islice

import torch
from train_doubles import tiny_decoder

from archon.train.packing import (
    IGNORED,
    batch_loss,
    make_batch,
    pack,
    packed_rows,
)
from archon.train.texts import Text


def text(length: int, given: int, first: int = 1) -> Text:
    return Text(tuple((first + i * 7) % 40 for i in range(length)), given, given)


def test_what_is_given_is_not_learnt_and_every_completion_is() -> None:
    batch = make_batch([[text(5, 2), text(4, 1, first=9)], [text(3, 3)]], 16)
    assert batch.token_BT.tolist() == [[1, 8, 15, 22, 9, 16, 23], [1, 8, 0, 0, 0, 0, 0]]
    assert batch.position_BT[0].tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert batch.text_BT.tolist() == [[0, 0, 0, 0, 1, 1, 1], [0, 0, -1, -1, -1, -1, -1]]
    none = IGNORED
    assert batch.wanted_BT[0].tolist() == [none, 15, 22, 29, 16, 23, 30]
    assert batch.wanted_BT[1].tolist() == [none] * 7
    assert batch.num_wanted == 6


def test_a_packed_batch_has_the_loss_and_gradients_of_its_texts_alone() -> None:
    model = tiny_decoder(family="qwen3").double()
    texts = [text(9, 3), text(5, 2, 4), text(7, 6, 11), text(12, 1, 2)]
    packed = make_batch([texts[:3], texts[3:]], 32)
    whole = batch_loss(model, packed, packed.num_wanted)
    whole.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    alone = [batch_loss(model, make_batch([[t]], 32), packed.num_wanted) for t in texts]
    torch.testing.assert_close(sum(alone), whole, atol=1e-5, rtol=1e-5)
    torch.stack(alone).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-4)


def test_rows_hold_every_text_once_a_round_and_are_nearly_full() -> None:
    texts = [text(3 + (i * 5) % 20, 1) for i in range(200)]
    rows = list(pack(iter(texts), 40))
    assert sorted(id(t) for row in rows for t in row) == sorted(map(id, texts))
    sizes = [sum(len(t.token_ids) - 1 for t in row) for row in rows]
    assert max(sizes) <= 40
    assert sum(sizes) / len(sizes) > 36
    stream = packed_rows(texts, 40, seed=0)
    two_rounds = list(islice(stream, 2 * len(rows) - 4))
    counts = [sum(t is u for row in two_rounds for u in row) for t in texts]
    assert min(counts) >= 1
    assert list(islice(packed_rows(texts, 40, 0), 5)) == two_rounds[:5]
    assert list(islice(packed_rows(texts, 40, 1), 5)) != two_rounds[:5]
