"""Cards whose models the transformers library computes: choice of the library, errors, keys."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import gguf
import numpy as np
import peft
import pytest
from combined_models import write_combined
from foreign_models import CONTEXT, write_foreign, write_gpt2_gguf
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tiny_folders import edit, write_folder
from tiny_lm_doubles import QUESTION, open_tiny
from tiny_models import TinyModel, write_gguf
from transformers import AutoModelForCausalLM

from archon.engine.engine import Engine
from archon.engine.transformers.engine import TransformersEngine
from archon.errors import ContextLengthError, MissingExtraError, ModelFileError, SpecError
from archon.graph.loading import Loader
from archon.lm.base import close
from archon.lm.local.card_loading import open_decoder
from archon.lm.local.lm import LocalLM
from archon.spec.model import LocalCard
from archon.types import Request, SamplingParams
from archon.warn_once import warn_once


@pytest.fixture(autouse=True)
def warnings_are_logged_again() -> Iterator[None]:
    warn_once.cache_clear()
    yield
    warn_once.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_foreign(tmp_path_factory.mktemp("foreign") / "neox")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("native") / "llama", TinyModel("llama"))


def greedy(num_tokens: int = 12) -> Request:
    return Request(QUESTION.messages, sampling=SamplingParams(0.0, max_tokens=num_tokens))


async def text_of(lm: LocalLM, request: Request) -> str:
    [completion] = await lm.generate(request)
    return completion.text


class TestChoice:
    async def test_another_family_runs_with_one_line_that_says_what_is_lost(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(2):
            lm = open_tiny(folder, precision="int8")
            assert isinstance(lm.worker.engine, TransformersEngine)
            await close(lm)
        [line] = [r for r in caplog.records if r.name == "archon"]
        assert line.levelno == logging.WARNING
        used = lm.worker.engine.decoder.precision
        for part in (
            "transformers 5",
            f"{used} instead of int8",
            "'gpt_neox'",
            "do not share a batch",
        ):
            assert part in line.getMessage()

    async def test_a_known_family_runs_in_the_engine_without_a_line(
        self, llama: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        lm = open_tiny(llama)
        assert type(lm.worker.engine) is Engine
        assert not caplog.records
        await close(lm)

    async def test_a_known_family_with_an_unknown_key_runs(
        self, llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        changed = copytree(llama, tmp_path / "changed")
        edit(changed / "config.json", an_unknown_key=3)
        lm = open_tiny(changed)
        assert isinstance(lm.worker.engine, TransformersEngine)
        assert "an_unknown_key" in caplog.text
        await close(lm)

    async def test_a_gguf_file_of_another_family_runs_like_its_folder(self, tmp_path: Path) -> None:
        folder = open_tiny(write_foreign(tmp_path / "folder", "gpt2"))
        file = open_tiny(write_gpt2_gguf(tmp_path / "m.gguf"))
        assert file.worker.engine.decoder.config.family == "gpt2"
        assert await text_of(file, greedy()) == await text_of(folder, greedy())
        await close(folder)
        await close(file)

    async def test_both_engines_write_the_same_texts(self, llama: Path) -> None:
        request = Request(QUESTION.messages, n=4, seed=3, sampling=QUESTION.sampling)
        found = {}
        for name in ("archon", "transformers"):
            lm = open_tiny(llama, engine=name)
            found[name] = [completion.text for completion in await lm.generate(request)]
            await close(lm)
        assert found["archon"] == found["transformers"]
        assert len(set(found["archon"])) > 1

    async def test_samples_of_the_two_engines_have_different_keys(self, llama: Path) -> None:
        native, library = (open_tiny(llama, engine=name) for name in ("archon", "transformers"))
        assert native.draw_key(QUESTION) != library.draw_key(QUESTION)
        key = library.draw_key(QUESTION)
        library.worker.engine.library = "transformers 4.0"
        assert library.draw_key(QUESTION) != key
        await close(native)
        await close(library)


class TestPrompts:
    async def test_a_base_model_continues_a_transcript(self, tmp_path: Path) -> None:
        lm = open_tiny(write_foreign(tmp_path / "base", template=None))
        assert len(await text_of(lm, greedy())) > 1
        await close(lm)

    async def test_a_prompt_beyond_the_context_is_an_error(self, folder: Path) -> None:
        lm = open_tiny(folder, context=64)
        with pytest.raises(ContextLengthError, match="context of 64 tokens"):
            await lm.generate(greedy(CONTEXT))
        await close(lm)

    async def test_an_older_tokenizer_is_converted(self, folder: Path, tmp_path: Path) -> None:
        older = copytree(folder, tmp_path / "older")
        model = json.loads((older / "tokenizer.json").read_text())["model"]
        (older / "tokenizer.json").unlink()
        (older / "vocab.json").write_text(json.dumps(model["vocab"]))
        merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        (older / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
        new, old = open_tiny(folder), open_tiny(older)
        assert await text_of(old, greedy()) == await text_of(new, greedy())
        await close(new)
        await close(old)


def make_adapter(path: Path, model: Path, seed: int = 0) -> Path:
    """Write a random adapter for a model's attention."""
    peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(model),
        peft.LoraConfig(r=2, target_modules=["query_key_value"], init_lora_weights=False),
    ).save_pretrained(path)
    return path


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
class TestAdapters:
    async def test_texts_are_those_of_the_merged_model(self, folder: Path, tmp_path: Path) -> None:
        adapter = make_adapter(tmp_path / "adapter", folder)
        merged = copytree(folder, tmp_path / "merged")
        base = AutoModelForCausalLM.from_pretrained(folder)
        peft.PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(merged)
        lms = [open_tiny(folder), open_tiny(folder, adapter=str(adapter)), open_tiny(merged)]
        plain, adapted, expected = [await text_of(lm, greedy()) for lm in lms]
        assert adapted == expected != plain
        assert len({lm.draw_key(QUESTION) for lm in lms}) == 3
        for lm in lms:
            await close(lm)

    def test_an_adapter_of_another_model_is_rejected(self, folder: Path, tmp_path: Path) -> None:
        adapter = make_adapter(tmp_path / "adapter", folder)
        file = adapter / "adapter_model.safetensors"
        tensors = load_file(file)
        last = max(tensors)
        save_file({name.replace(".1.", ".7."): t for name, t in tensors.items()}, file)
        assert ".1." in last
        with pytest.raises(ModelFileError, match="for another model"):
            open_tiny(folder, adapter=str(adapter))

    def test_a_pickled_adapter_is_not_read(self, folder: Path, tmp_path: Path) -> None:
        adapter = make_adapter(tmp_path / "adapter", folder)
        tensors = adapter / "adapter_model.safetensors"
        tensors.rename(adapter / "adapter_model.bin")
        with pytest.raises(ModelFileError, match=r"adapter_model\.safetensors.*missing"):
            open_tiny(folder, adapter=str(adapter))


CODE = """
from transformers import GPT2Config, GPT2LMHeadModel

class Config(GPT2Config):
    model_type = "custom"

class Model(GPT2LMHeadModel):
    config_class = Config
"""


class TestTrustedCode:
    async def test_code_runs_only_if_the_card_says_so(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        plain = write_foreign(tmp_path / "plain", "gpt2")
        custom = copytree(plain, tmp_path / "custom")
        (custom / "modeling.py").write_text(CODE)
        auto_map = {"AutoConfig": "modeling.Config", "AutoModelForCausalLM": "modeling.Model"}
        edit(custom / "config.json", model_type="custom", auto_map=auto_map)
        trusted = open_tiny(custom, engine="transformers", trust_remote_code=True)
        assert "with the Python code of its folder" in caplog.text
        known = open_tiny(plain)
        assert await text_of(trusted, greedy()) == await text_of(known, greedy())
        key = trusted.draw_key(QUESTION)
        await close(trusted)
        (custom / "modeling.py").write_text(f"{CODE}\n# changed")
        trusted = open_tiny(custom, engine="transformers", trust_remote_code=True)
        assert trusted.draw_key(QUESTION) != key
        await close(trusted)
        await close(known)

    def test_an_architecture_cannot_allow_it(self, tmp_path: Path) -> None:
        card = {
            "name": "m", "backend": "local", "engine": "transformers", "trust_remote_code": True,
            "sources": [{"path": "./m"}],
        }  # fmt: skip
        file = tmp_path / "a.json"
        spec: dict[str, Any] = {
            "version": 1, "name": "a", "models": {"solver": card}, "output": "x",
            "nodes": {"x": {"type": "generator", "model": "solver"}},
        }  # fmt: skip
        file.write_text(json.dumps(spec))
        with pytest.raises(SpecError, match="only in a card in a separate file") as error:
            Loader().architecture(file)
        assert error.value.path == "$.models.solver"
        (tmp_path / "card.json").write_text(json.dumps(card))
        file.write_text(json.dumps(spec | {"models": {"solver": "./card.json"}}))
        loader = Loader()
        loader.architecture(file)
        assert [getattr(lm.card, "trust_remote_code", None) for lm in loader.lms] == [True]


class TestCombinedModels:
    async def test_the_language_model_runs_in_the_engine_with_one_line(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_combined(tmp_path, "gemma3")
        lm, library = open_tiny(tmp_path), open_tiny(tmp_path, engine="transformers")
        assert type(lm.worker.engine) is Engine
        assert await text_of(lm, greedy()) == await text_of(library, greedy())
        lines = [r.getMessage() for r in caplog.records if "images" in r.getMessage()]
        assert lines == [
            "tiny: images, video and sound are not supported; this gemma3 model gets text only"
        ]
        await close(lm)
        await close(library)

    async def test_another_one_runs_in_the_library(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_combined(tmp_path, "aya_vision", "llama")
        edit(tmp_path / "config.json", eos_token_id=None)
        lm = open_tiny(tmp_path)
        assert isinstance(lm.worker.engine, TransformersEngine)
        assert "this aya_vision model gets text only" in caplog.text
        assert await text_of(lm, greedy())
        await close(lm)


class TestErrors:
    def test_the_engine_can_be_demanded(self, folder: Path) -> None:
        with pytest.raises(ModelFileError, match="'gpt_neox' is not supported"):
            open_tiny(folder, engine="archon")

    def test_code_in_the_folder_is_not_run(self, tmp_path: Path) -> None:
        custom = write_foreign(tmp_path / "custom", "gpt2")
        (custom / "modeling.py").write_text("raise AssertionError('the code has run')")
        auto_map = {"AutoConfig": "modeling.Config", "AutoModelForCausalLM": "modeling.Model"}
        edit(custom / "config.json", model_type="custom", auto_map=auto_map)
        with pytest.raises(ModelFileError, match=r"'custom'.*Python code.*trust.*card.*vLLM"):
            open_tiny(custom)
        with pytest.raises(ModelFileError, match=r"Python code.*\"trust_remote_code\": true"):
            open_tiny(custom, engine="transformers")

    def test_a_missing_library_is_named_with_its_extra(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def require(package: str, extra: str) -> Any:
            raise MissingExtraError(package, extra)

        monkeypatch.setattr("archon.engine.transformers.loading.require", require)
        with pytest.raises(MissingExtraError, match=r"pip install 'archon-inference\[engine\]'"):
            open_tiny(folder, engine="transformers")
        with pytest.raises(ModelFileError, match=r"'gpt_neox'.*archon-inference\[engine\]"):
            open_tiny(folder)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"quant_method": "quanto", "weights": "int8"}, "pip install optimum-quanto"),
            ({"quant_method": "hqq", "quant_config": {}}, "pip install hqq"),
            ({"quant_method": "unheard-of"}, "'unheard-of' is unknown"),
            (3, r"config\.json: quantization_config is 3, not an object"),
        ],
    )
    def test_a_quantization_that_the_library_cannot_read_is_an_error(
        self, settings: Any, message: str, folder: Path, tmp_path: Path
    ) -> None:
        quantized = copytree(folder, tmp_path / "quantized")
        edit(quantized / "config.json", quantization_config=settings)
        with pytest.raises(ModelFileError, match=message):
            open_tiny(quantized, engine="transformers")

    def test_both_reasons_are_given_if_neither_can_load_it(
        self, folder: Path, tmp_path: Path
    ) -> None:
        broken = copytree(folder, tmp_path / "broken")
        edit(broken / "config.json", model_type="no_such_family")
        with pytest.raises(ModelFileError, match=r"'no_such_family' is not.*transformers 5"):
            open_tiny(broken)

    def test_a_missing_adapter_is_named(self, folder: Path) -> None:
        with pytest.raises(ModelFileError, match=r"adapter: the file adapter_config\.json"):
            open_tiny(folder, adapter="./adapter")

    def test_a_reward_head_needs_the_engine(self, folder: Path) -> None:
        card = {"name": "m", "backend": "local", "sources": [{"path": str(folder)}], "reward": "r"}
        with pytest.raises(ModelFileError, match=r"'gpt_neox'.*'reward' needs a family.*'logit'"):
            open_decoder(LocalCard.model_validate(card), Path())

    def test_a_gguf_file_of_a_known_family_is_not_given_to_the_library(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "m.gguf"
        extra = {"blk.0.unknown.weight": np.zeros(8, np.float32)}
        write_gguf(path, TinyModel("llama", extra=extra))
        with pytest.raises(ModelFileError, match=r"'blk\.0\.unknown\.weight' is not"):
            open_tiny(path)

    def test_a_gguf_file_that_the_library_does_not_know_is_an_error_with_a_cure(
        self, tmp_path: Path
    ) -> None:
        writer = gguf.GGUFWriter(tmp_path / "m.gguf", "grok")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with pytest.raises(ModelFileError, match=r"'grok'.*llama-server"):
            open_tiny(tmp_path / "m.gguf")

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"engine": "transformers", "reward": "a"}, "'reward' needs 'engine'"),
            ({"trust_remote_code": True}, "'trust_remote_code' needs 'engine'"),
            ({"trust_remote_code": True, "engine": "archon"}, "'trust_remote_code' needs"),
            (
                {
                    "trust_remote_code": True,
                    "engine": "transformers",
                    "sources": [{"huggingface": "a/b"}],
                },
                "needs sources with 'path'",
            ),
            ({"engine": "archon", "transformer": "cross-encoder"}, "'engine' needs"),
        ],
    )
    def test_keys_that_do_not_fit_are_rejected(self, keys: dict[str, Any], message: str) -> None:
        card = {"name": "m", "backend": "local", "sources": [{"path": "m"}]}
        with pytest.raises(ValidationError, match=message):
            LocalCard.model_validate(card | keys)
