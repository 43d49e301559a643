"""Vocabularies of SentencePiece, WordPiece and BPE in GGUF files and folders, compared with
transformers and with the algorithms as published."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_texts import hostile_texts
from tiny_lm_doubles import QUESTION, open_tiny
from tiny_models import TinyModel, tiny_vocabulary, write_gguf
from tiny_pieces import CONTROL, IDS, NORMAL, PIECES, SCORES, UNKNOWN, pieces, sentence_piece_keys
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    AddedToken,
    BertTokenizer,
    CohereTokenizer,
    GemmaTokenizer,
    GPT2Tokenizer,
    GPTNeoXTokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    T5Tokenizer,
)
from transformers.convert_slow_tokenizer import generate_merges

from archon.engine.files.folder import ModelFolder
from archon.engine.files.gguf import GGUFFile
from archon.errors import ModelFileError
from archon.lm.local.detokenizer import Detokenizer
from archon.lm.local.tokenizer import TextTokenizer, read_tokenizer_config
from archon.train.model_folder import save_tokenizer
from archon.types import Constraint


def of_gguf(folder: Path, **changes: Any) -> TextTokenizer:
    path = folder / "model.gguf"
    write_gguf(path, TinyModel("llama", **changes))
    return TextTokenizer(read_tokenizer_config(GGUFFile(path)))


def of_folder(folder: Path) -> TextTokenizer:
    (folder / "config.json").write_text('{"model_type": "llama", "eos_token_id": 2}')
    header = b"{}"
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return TextTokenizer(read_tokenizer_config(ModelFolder(folder)))


def assert_equal_to(
    theirs: PreTrainedTokenizerBase, ours: TextTokenizer, without: Sequence[str] = ()
) -> None:
    """Compare the two on all texts that do not name control tokens, which ours does not find."""
    texts = [t for t in hostile_texts() if not any(name in t for name in without)]
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    for text, ids in zip(texts, expected, strict=True):
        assert ours.encode(text) == ids, text


# ----------------------------------------------------------------------- BPE of SentencePiece


def merged_by_score(text: str) -> list[int]:
    """SentencePiece's algorithm, pair by pair: the highest score first, and the leftmost first."""
    symbols = list(text.replace(" ", "▁"))
    while True:
        pairs = [
            (SCORES[left + right], -i)
            for i, (left, right) in enumerate(pairwise(symbols))
            if left + right in IDS and IDS[left + right] > 258
        ]
        if not pairs:
            break
        at = -max(pairs)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    ids = []
    for symbol in symbols:
        known = IDS.get(symbol, 0) > 2
        ids += [IDS[symbol]] if known else [IDS[f"<0x{byte:02X}>"] for byte in symbol.encode()]
    return ids


@pytest.mark.parametrize("adds_space", [None, False])
def test_pieces_of_a_gguf_file_are_merged_by_score(adds_space: bool | None, tmp_path: Path) -> None:
    ours = of_gguf(tmp_path, metadata=sentence_piece_keys(add_space_prefix=adds_space))
    prefix = "" if adds_space is False else " "
    for text in hostile_texts():
        expected = merged_by_score(prefix + text) if text else []
        assert ours.encode(text) == expected
        # SentencePiece cannot tell "▁" from a space.
        whole = (prefix + text if text else "").replace("▁", " ")
        assert ours.decode(ours.encode(text)) == whole
        assert ours.encode_continuation(text) == merged_by_score(text)


def test_parts_after_added_tokens_get_a_space_as_in_llama_cpp(tmp_path: Path) -> None:
    ours = of_gguf(tmp_path, metadata=sentence_piece_keys())
    the, x, tool = merged_by_score(" the"), merged_by_score(" x"), IDS["<tool>"]
    assert ours.encode("the<tool>x") == [*the, tool, *x]
    assert ours.encode_continuation("the<tool>x") == [*merged_by_score("the"), tool, *x]
    end = IDS["<|im_end|>"]
    assert ours.encode_template("<s>the<|im_end|>x") == [1, *the, end, *x]
    assert ours.encode_template("x<|im_end|>x", position="after text")[0] == IDS["x"]


def test_text_does_not_produce_control_or_byte_tokens(tmp_path: Path) -> None:
    ours = of_gguf(tmp_path, metadata=sentence_piece_keys())
    assert ours.control_ids == {0, 1, 2, IDS["<|im_end|>"]}
    for name in ("<s>", "</s>", "<unk>", "<|im_end|>", "<0x41>"):
        ids = ours.encode(name)
        assert IDS[name] not in ids
        assert ours.decode(ids) == f" {name}"


def test_missing_types_of_pieces_are_inferred(tmp_path: Path) -> None:
    stated = of_gguf(tmp_path, metadata=sentence_piece_keys())
    inferred = of_gguf(tmp_path, metadata=sentence_piece_keys(token_type=None))
    assert inferred.control_ids == stated.control_ids
    for text in hostile_texts()[:40]:
        assert inferred.encode(text) == stated.encode(text)


def test_special_tokens_have_the_usual_ids_if_the_file_names_none(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    nameless = dict.fromkeys(("bos_token_id", "eos_token_id", "unknown_token_id"))
    write_gguf(path, TinyModel("llama", metadata=sentence_piece_keys(**nameless)))
    config = read_tokenizer_config(GGUFFile(path))
    assert config.begin_ids == (1,)
    assert config.stop_ids == {2, IDS["<|im_end|>"]}
    assert config.template_tokens == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def test_an_end_of_message_and_known_names_end_a_text(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    tokens = [*PIECES[:-2], "<end_of_turn>", "<tool>"]
    keys = sentence_piece_keys(tokens=tokens, eom_token_id=IDS["<tool>"])
    write_gguf(path, TinyModel("llama", metadata=keys))
    config = read_tokenizer_config(GGUFFile(path))
    assert config.stop_ids == {2, len(tokens) - 2, len(tokens) - 1}
    assert "eom_token" not in config.template_tokens


def test_the_end_of_a_channel_does_not_end_a_text(tmp_path: Path) -> None:
    """In gpt-oss, <|end|> ends a message of several."""
    tokens = list(tiny_vocabulary().tokens)
    tokens[-3:] = "<|return|>", "<|call|>", "<|end|>"
    types = [*tiny_vocabulary().types[:-3], CONTROL, CONTROL, CONTROL]
    keys = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}
    ours = of_gguf(tmp_path, metadata=keys)
    assert tokens.index("<|end|>") not in ours.stop_ids
    assert {tokens.index("<|return|>"), tokens.index("<|call|>")} <= ours.stop_ids


def test_a_file_may_list_its_ends_and_added_tokens(tmp_path: Path) -> None:
    tokens = [*PIECES[:-2], "<one>", "<two>"]
    types = [*(kind for *_, kind in pieces()[:-2]), NORMAL, NORMAL]
    keys = sentence_piece_keys(
        tokens=tokens, token_type=types, added_tokens=["<one>"], eos_token_ids=[2, IDS["x"]]
    )
    ours = of_gguf(tmp_path, metadata=keys)
    assert ours.encode_continuation("<one>") == [len(tokens) - 2]
    assert len(ours.encode_continuation("<two>")) == 5
    assert ours.stop_ids == {2, IDS["x"]}


@pytest.mark.parametrize(("name", "strips"), [("Phi-3 mini", True), ("Llama 2", False)])
def test_tokens_of_phi_3_include_the_white_space_after_them(
    name: str, strips: bool, tmp_path: Path
) -> None:
    ours = of_gguf(tmp_path, metadata=sentence_piece_keys() | {"general.name": name})
    end, tool = IDS["<|im_end|>"], IDS["<tool>"]
    space = [] if strips else merged_by_score(" \n")
    assert ours.encode_template("<|im_end|>\n<tool>\n<s>") == [end, *space, tool, *space, 1]
    assert ours.encode_template("<s>\n") == [1, *merged_by_score(" \n")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"eos_token_ids": [99_999]}, "eos_token_ids contains 99999, which is not a valid id"),
        ({"added_tokens": ["<new>"]}, "added token '<new>' is not in tokenizer.ggml.tokens"),
        ({"scores": None}, "scores is missing"),
        ({"scores": [0.0]}, "scores does not have a number for each token"),
        ({"add_space_prefix": 1}, "add_space_prefix must be true or false, not 1"),
        ({"normalizer.lowercase": True}, "the key is unknown"),
    ],
)
def test_a_damaged_vocabulary_is_refused(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=reason):
        of_gguf(tmp_path, metadata=sentence_piece_keys(**changes))


@pytest.mark.parametrize("text", ["the answer is 12 👍 数学 naïve\n\n  x", "👩‍👩‍👧‍👦<tool>é"])
def test_characters_appear_once_their_bytes_are_complete(text: str, tmp_path: Path) -> None:
    ours = of_gguf(tmp_path, metadata=sentence_piece_keys(add_space_prefix=False))
    detokenizer, parts = Detokenizer(ours, ()), []
    for token in ours.encode(text):
        parts += [part.text for part in detokenizer.feed(token)]
        assert "\ufffd" not in "".join(parts)
    parts += [part.text for part in detokenizer.finish()]
    assert "".join(parts) == text


def test_a_folder_that_training_writes_has_the_same_tokenizer(tmp_path: Path) -> None:
    path, texts = tmp_path / "model.gguf", hostile_texts()[:60]
    write_gguf(path, TinyModel("llama", metadata=sentence_piece_keys()))
    config = read_tokenizer_config(GGUFFile(path))
    written = tmp_path / "folder"
    written.mkdir()
    save_tokenizer(config, written)
    ours, again = TextTokenizer(config), of_folder(written)
    theirs = PreTrainedTokenizerFast.from_pretrained(written)
    for text in texts:
        ids = ours.encode(text)
        assert again.encode(text) == ids
        assert again.decode(ids) == ours.decode(ids)
        assert theirs.decode(ids, clean_up_tokenization_spaces=False) == ours.decode(ids)[1:]
    assert again.stop_ids == ours.stop_ids


async def test_a_model_of_such_a_vocabulary_follows_constraints(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    embedding = np.random.default_rng(0).standard_normal((len(PIECES), 32)) / 2
    template = "{{ bos_token }}{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
    extra = {"token_embd.weight": embedding.astype(np.float32)}
    metadata = sentence_piece_keys()
    write_gguf(path, TinyModel("llama", chat_template=template, extra=extra, metadata=metadata))
    lm = open_tiny(path)
    assert lm.chat.encode(QUESTION.messages)[0] == 1
    constraint = Constraint(regex="é|naïve|the answer is [0-9]{2}👍")
    completions = await lm.generate(replace(QUESTION, constraint=constraint, n=3))
    for completion in completions:
        assert re.fullmatch(constraint.regex or "", completion.text)
    [scored] = await lm.generate(replace(QUESTION, choices=("yes", "数学")))
    assert set(scored.choice_logprobs or {}) == {"yes", "数学"}
    assert scored.usage.choice_tokens == len(merged_by_score("yes")) + len(merged_by_score("数学"))
    await lm.aclose()


# --------------------------------------------------------------------- folders of the families


def merges() -> list[tuple[str, str]]:
    scores = [(piece, SCORES[piece]) for piece in PIECES[259:-2]]
    found: list[tuple[str, str]] = generate_merges(IDS, scores)
    return found


def saved(tokenizer: PreTrainedTokenizerBase, folder: Path) -> TextTokenizer:
    tokenizer.save_pretrained(folder)
    return of_folder(folder)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_llama_folder_is_tokenized_as_by_transformers(legacy: bool, tmp_path: Path) -> None:
    theirs = LlamaTokenizer(vocab=IDS, merges=merges(), legacy=legacy)
    theirs.add_tokens([AddedToken("<tool>", special=False)])
    ours = saved(theirs, tmp_path)
    assert_equal_to(theirs, ours, ("<unk>", "<s>", "</s>"))
    for text in ("the<tool>x<tool> y", "<tool>the"):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
    assert ours.encode_template("<s>the</s>x") == theirs.encode(
        "<s>the</s>x", add_special_tokens=False
    )


def test_a_folder_of_an_older_llama_is_tokenized_as_by_transformers(tmp_path: Path) -> None:
    """Published files have a normalizer instead of a pre-tokenizer."""
    tokenizer = Tokenizer(
        models.BPE(IDS, merges(), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    theirs.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    ours = saved(theirs, tmp_path)
    assert_equal_to(theirs, ours, ("<unk>", "<s>", "</s>"))
    for text in hostile_texts()[:60]:
        assert ours.decode(ours.encode_continuation(text)) == text.replace("▁", " ")


def test_a_gemma_folder_is_tokenized_as_by_transformers(tmp_path: Path) -> None:
    names = {
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<|im_end|>",
    }
    theirs = GemmaTokenizer(vocab=IDS, merges=merges(), mask_token=None, **names)
    ours = saved(theirs, tmp_path)
    assert_equal_to(theirs, ours, ("<unk>", "<s>", "</s>"))


def unigram_vocabulary() -> list[tuple[str, float]]:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return special + [(piece, score / 9 - 1) for piece, score, _ in pieces()[259:-2]]


def test_a_t5_folder_is_tokenized_as_by_transformers(tmp_path: Path) -> None:
    theirs = T5Tokenizer(vocab=unigram_vocabulary(), extra_ids=0)
    ours = saved(theirs, tmp_path)
    assert_equal_to(theirs, ours, ("<unk>", "</s>", "<pad>"))
    for name in ("</s>", "<pad>"):
        assert ours.control_ids & set(ours.encode(f"the {name} x")) <= {2}  # unknown letters


def test_a_unigram_gguf_file_is_tokenized_as_by_tokenizers(tmp_path: Path) -> None:
    vocabulary = unigram_vocabulary()
    theirs = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    theirs.normalizer = normalizers.Sequence(
        [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    theirs.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    keys = {
        "model": "t5", "pre": "default", "merges": None, "tokens": [p for p, _ in vocabulary],
        "scores": [score for _, score in vocabulary], "bos_token_id": None, "eos_token_id": 1,
        "token_type": [CONTROL, CONTROL, UNKNOWN] + [NORMAL] * (len(vocabulary) - 3),
        "add_space_prefix": True, "remove_extra_whitespaces": True, "add_eos_token": True,
    }  # fmt: skip
    ours = of_gguf(tmp_path, metadata={f"tokenizer.ggml.{k}": v for k, v in keys.items()})
    for text in hostile_texts():
        if not any(name in text for name in ("<unk>", "</s>")):
            assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
    assert ours.decode(ours.encode("the answer is 12")) == " the answer is 12"


WORD_PIECES = (
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "answer", "is", "12", "##3", "##ing", "a",
    *"bcdefghijklmnopqrstuvwxyz0123456789.,'!?",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123"),
    "数", "学", "é", "##é", "и", "м", "##и", "##р",
)  # fmt: skip


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_pieces_are_tokenized_as_by_transformers(lowercase: bool, tmp_path: Path) -> None:
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(WORD_PIECES))}
    theirs = BertTokenizer(vocab=vocabulary, do_lower_case=lowercase)
    special = [token for token in vocabulary if token.startswith("[")]
    assert_equal_to(theirs, saved(theirs, tmp_path), special)

    def stored(token: str) -> str:
        if token in special:
            return token
        return token.removeprefix("##") if token.startswith("##") else f"▁{token}"

    keys = {
        "model": "bert", "pre": None, "merges": None, "tokens": [stored(t) for t in vocabulary],
        "token_type": [CONTROL if t in special else NORMAL for t in vocabulary],
        "bos_token_id": 2, "eos_token_id": None, "unknown_token_id": 1, "seperator_token_id": 3,
        "normalizer.lowercase": lowercase,
    }  # fmt: skip
    ours = of_gguf(tmp_path, metadata={f"tokenizer.ggml.{k}": v for k, v in keys.items()})
    assert_equal_to(theirs, ours, special)
    assert ours.decode(ours.encode("the answer is 123")) == " the answer is 123"


BYTE_LEVEL = {
    "qwen2": Qwen2Tokenizer,
    "gpt-2": GPT2Tokenizer,
    "olmo": GPTNeoXTokenizer,
    "command-r": CohereTokenizer,
}


@pytest.mark.parametrize("pre", BYTE_LEVEL)
def test_byte_level_vocabularies_are_tokenized_as_by_transformers(pre: str, tmp_path: Path) -> None:
    vocabulary = tiny_vocabulary()
    tokens = {token: i for i, token in enumerate(vocabulary.tokens)}
    pairs = [tuple(merge.split(" ")) for merge in vocabulary.merges]
    theirs = BYTE_LEVEL[pre](vocab=tokens, merges=pairs, unk_token="<|endoftext|>")
    ours = of_gguf(tmp_path, pre=pre)
    assert_equal_to(theirs, ours, ("<|endoftext|>", "<tool>"))


# ---------------------------------------------------------------------------- tokenizer.model


def message(*fields: tuple[int, int | float | bytes]) -> bytes:
    """Encode a message of Protocol Buffers."""
    encoded = b""
    for number, value in fields:
        match value:
            case bytes():
                encoded += varint(number << 3 | 2) + varint(len(value)) + value
            case float():
                encoded += varint(number << 3 | 5) + struct.pack("<f", value)
            case _:
                encoded += varint(number << 3) + varint(value)
    return encoded


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded, value = encoded + bytes([value & 0x7F | 0x80]), value >> 7
    return encoded + bytes([value])


def sentence_piece_file(model: int = 2) -> bytes:
    fields = [
        (1, message((1, piece.encode()), (2, score), (3, kind))) for piece, score, kind in pieces()
    ]
    trainer = message((1, b"corpus.txt"), (3, model), (35, 1), (40, 0))
    normalizer = message((1, b"identity"), (3, 1), (4, 0))
    return message(*fields, (2, trainer), (3, normalizer))


@pytest.mark.parametrize("legacy", [True, False])
def test_a_folder_with_tokenizer_model_alone_is_tokenized_as_by_transformers(
    legacy: bool, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sentence_piece_file())
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "legacy": legacy}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<new>": len(PIECES)}))
    ours = of_folder(tmp_path)
    theirs = LlamaTokenizer(vocab=IDS, merges=merges(), legacy=legacy)
    assert_equal_to(theirs, ours, ("<unk>", "<s>", "</s>"))
    assert ours.encode("<new>") == [len(PIECES)]
    assert ours.encode("<tool>") == [IDS["<tool>"]]
    config_ = read_tokenizer_config(ModelFolder(tmp_path))
    assert config_.begin_ids == (1,)
    assert 2 in config_.stop_ids


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"IQ== 0\nIg== 1\n", "is not a vocabulary of SentencePiece"),
        (sentence_piece_file()[:1000], "damaged at byte"),
        (sentence_piece_file(model=3), "whole words or characters"),
        (b"", "it has no pieces"),
    ],
)
def test_another_tokenizer_model_is_refused_with_the_cure(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(ModelFileError, match=reason) as error:
        of_folder(tmp_path)
    assert "Add the tokenizer.json" in str(error.value)


def test_a_word_with_a_suffix_is_decoded_with_a_space(tmp_path: Path) -> None:
    model = models.BPE(
        {"t": 0, "h": 1, "e": 2, "e</w>": 3, "th": 4, "the</w>": 5, "x</w>": 6},
        [("t", "h"), ("th", "e</w>")],
        end_of_word_suffix="</w>",
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ours = of_folder(tmp_path)
    assert ours.encode("the x") == [5, 6]
    assert ours.decode([5, 6]) == "the x "
