from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from archon.engine.encoders.config import EncoderConfig
from archon.engine.encoders.encoder import Encoder, initialise_encoder
from archon.engine.encoders.heads import MaskedLanguageModel, WordClassifier, mean_vector
from archon.engine.encoders.masking import IGNORED, mask_tokens, masked_loss
from archon.engine.encoders.weights import load_encoder, load_text_classifier
from archon.engine.files.folder import ModelFolder
from archon.errors import ModelFileError

SIZES = {
    "vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 40, "max_position_embeddings": 32,
}  # fmt: skip
CONFIG = EncoderConfig(60, 2, 16, 32, 2, 32)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    is_token = torch.arange(20)[None] < torch.tensor([20, 6, 13])[:, None]
    return torch.randint(1, 60, (3, 20), generator=generator) * is_token, is_token


@torch.no_grad()
def test_vectors_equal_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    theirs = transformers.BertModel(transformers.BertConfig(**SIZES)).eval()
    theirs.save_pretrained(tmp_path)
    ids, is_token = batch()
    expected = theirs(ids, attention_mask=is_token.long()).last_hidden_state
    ours = load_encoder(ModelFolder(tmp_path))(ids, is_token)
    torch.testing.assert_close(ours[is_token], expected[is_token], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_scores_of_pairs_equal_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, num_labels=1, initializer_range=0.5)
    theirs = transformers.BertForSequenceClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    ids, is_token = batch()
    segment = (torch.arange(20) > 4).long().expand(3, -1)
    expected = theirs(ids, attention_mask=is_token.long(), token_type_ids=segment).logits
    ours = load_text_classifier(ModelFolder(tmp_path))(ids, is_token, segment)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    load_encoder(ModelFolder(tmp_path / "."))  # the body alone, of a folder with a head


def test_an_encoder_without_a_head_cannot_classify(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    transformers.BertModel(transformers.BertConfig(**SIZES)).save_pretrained(tmp_path)
    with pytest.raises(ModelFileError, match="no head"):
        load_text_classifier(ModelFolder(tmp_path))


def test_masking_changes_only_a_share_of_the_allowed_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 60, (40, 100), generator=generator)
    may_hide = torch.arange(100).expand(40, -1) > 9
    read, wanted = mask_tokens(ids, may_hide, 3, 60, generator)
    asked = wanted != IGNORED
    assert not asked[:, :10].any()
    assert 0.12 < asked[:, 10:].float().mean() < 0.18
    assert torch.equal(read[~asked], ids[~asked])
    assert torch.equal(wanted[asked], ids[asked])
    assert 0.75 < (read[asked] == 3).float().mean() < 0.85
    assert 0.05 < (read[asked] == ids[asked]).float().mean() < 0.15


def test_pre_training_learns_the_masked_token() -> None:
    from archon.train.optimization import Schedule, train

    torch.manual_seed(0)
    model = MaskedLanguageModel(Encoder(CONFIG))
    initialise_encoder(model.encoder, 0)
    generator = torch.Generator().manual_seed(0)
    is_token = torch.ones(32, 12, dtype=torch.bool)

    def losses():  # type: ignore[no-untyped-def]
        while True:
            # Every text repeats one token, so a masked token can be predicted from its neighbours.
            ids = torch.randint(5, 21, (32, 1), generator=generator).expand(-1, 12)
            read, wanted = mask_tokens(ids, is_token, 3, 60, generator)
            yield lambda read=read, wanted=wanted: masked_loss(model, read, is_token, wanted)

    curve = train(model, losses(), Schedule(200, learning_rate=5e-3, warmup_steps=10))
    assert sum(curve[:5]) / 5 > 3.5
    assert sum(curve[-5:]) / 5 < 1.5 < math.log(16)


def test_padding_changes_nothing() -> None:
    encoder = Encoder(CONFIG).eval()
    initialise_encoder(encoder, 0)
    words = WordClassifier(encoder, 3).eval()
    ids, is_token = torch.tensor([[4, 8, 9, 0, 0]]), torch.tensor([[True] * 3 + [False] * 2])
    torch.testing.assert_close(words(ids, is_token)[:, :3], words(ids[:, :3], is_token[:, :3]))
    vector = mean_vector(encoder(ids, is_token), is_token)
    torch.testing.assert_close(
        vector, mean_vector(encoder(ids[:, :3], is_token[:, :3]), is_token[:, :3])
    )
    assert vector.norm().item() == pytest.approx(1)
