from __future__ import annotations

from itertools import islice

import pytest
import torch
from train_doubles import tiny_decoder

from archon.train.decoder import TrainableDecoder
from archon.train.packing import (
    IGNORED,
    PackedBatch,
    batch_loss,
    make_batch,
    pack,
    packed_rows,
    shared_prefix,
)
from archon.train.sft_data import Text


def text(length: int, given: int, first: int = 1) -> Text:
    return Text(tuple((first + i * 7) % 40 for i in range(length)), given, given)


def test_only_completions_are_targets() -> None:
    batch = make_batch([[text(5, 2), text(4, 1, first=9)], [text(3, 3)]], 16)
    assert batch.token_BT.tolist() == [[1, 8, 15, 22, 9, 16, 23], [1, 8, 0, 0, 0, 0, 0]]
    assert batch.position_BT[0].tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert batch.text_BT.tolist() == [[1, 1, 1, 1, 2, 2, 2], [1, 1, -1, -1, -1, -1, -1]]
    assert batch.end_N2.tolist() == [[0, 3], [0, 6], [1, 1]]
    none = IGNORED
    assert batch.target_BT[0].tolist() == [none, 15, 22, 29, 16, 23, 30]
    assert batch.target_BT[1].tolist() == [none] * 7
    assert batch.num_targets == 6


def assert_as_if_alone(model: TrainableDecoder, packed: PackedBatch, texts: list[Text]) -> None:
    """Check that a batch has the loss and gradients of its texts in separate rows."""
    loss = batch_loss(model, packed, packed.num_targets)
    loss.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    alone = [batch_loss(model, make_batch([[t]], 32), packed.num_targets) for t in texts]
    torch.testing.assert_close(sum(alone), loss, atol=1e-5, rtol=1e-5)
    torch.stack(alone).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-4)


def test_packing_changes_no_loss_and_no_gradient() -> None:
    model = tiny_decoder(family="qwen3").double()
    texts = [text(9, 3), text(5, 2, 4), text(7, 6, 11), text(12, 1, 2)]
    packed = make_batch([texts[:3], texts[3:]], 32)
    assert_as_if_alone(model, packed, texts)


def begun(own: int, given: int) -> Text:
    """Return a text that starts with 5 common tokens, then its own ones."""
    return Text((20, 21, 22, 23, 24, own, *range(own, own + 4)), given, given)


def test_a_shared_prefix_is_stored_once_per_row() -> None:
    batch = make_batch([[begun(1, 7), begun(9, 6)], [begun(3, 7)]], 16)
    assert batch.token_BT[0].tolist() == [20, 21, 22, 23, 24, 1, 1, 2, 3, 9, 9, 10, 11]
    assert batch.position_BT[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8]
    assert batch.text_BT[0].tolist() == [0] * 5 + [1] * 4 + [2] * 4
    none = IGNORED
    assert batch.target_BT[0].tolist() == [none] * 6 + [2, 3, 4, 9, 10, 11, 12]
    assert batch.token_BT[1, :9].tolist() == [20, 21, 22, 23, 24, 3, 3, 4, 5]
    assert batch.end_N2.tolist() == [[0, 8], [0, 12], [1, 8]]


@pytest.mark.parametrize(
    ("texts", "shared"),
    [
        ([begun(1, 7), begun(9, 7)], 5),
        ([begun(1, 7), begun(9, 3)], 2),  # targets are learned in their own text
        ([begun(1, 7), begun(1, 7)], 6),
        ([begun(1, 99), Text((20, 21, 22, 23), 99, 99)], 2),  # each text keeps one token to read
        ([begun(1, 7), text(5, 2)], 0),
        ([begun(1, 7)], 0),
        ([], 0),
    ],
)
def test_the_shared_prefix_contains_no_target(texts: list[Text], shared: int) -> None:
    assert shared_prefix(texts) == shared


def test_a_shared_prefix_changes_no_loss_and_no_gradient() -> None:
    model = tiny_decoder(family="qwen2").double()
    texts = [begun(own, 6 + own % 3) for own in (1, 9, 3, 5)]
    packed = make_batch([texts[:3], texts[3:]], 32)
    assert packed.token_BT.shape == (2, 17)
    assert_as_if_alone(model, packed, texts)


def test_a_shared_prefix_lets_more_texts_fit_a_row() -> None:
    texts = [begun(1 + i % 30, 6) for i in range(60)]
    rows = list(pack(iter(texts), 29, shared_prefix(texts)))
    assert {len(row) for row in rows} == {6}
    assert {make_batch([row], 29).token_BT.shape for row in rows} == {(1, 29)}


def test_each_round_has_every_text_once_in_nearly_full_rows() -> None:
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
