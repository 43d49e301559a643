"""Text ↔ token ids.

Read ``bpe`` (``TextTokenizer``), ``added_tokens`` (tokens found before byte-pair encoding), then
``config`` (the contents of a model's files) and its readers: ``gguf`` with ``pretokenizers``, and
``folder``.
"""

from archon.engine.files.gguf import GGUFFile
from archon.engine.model.config import ModelFile
from archon.lm.local.tokenizer.config import TokenizerConfig
from archon.lm.local.tokenizer.folder import tokenizer_config_of_folder
from archon.lm.local.tokenizer.gguf import tokenizer_config_of_gguf
from archon.lm.local.tokenizer.pieces import LONG_TEXT
from archon.lm.local.tokenizer.text_tokenizer import TextTokenizer

__all__ = ["LONG_TEXT", "TextTokenizer", "TokenizerConfig", "read_tokenizer_config"]


def read_tokenizer_config(file: ModelFile) -> TokenizerConfig:
    """Read the tokenizer, special tokens and chat template of an open file or folder.

    Raises
    ------
    ModelFileError
        There is no tokenizer, it is damaged, or its kind is not supported.
    """
    if isinstance(file, GGUFFile):
        return tokenizer_config_of_gguf(file)
    return tokenizer_config_of_folder(file)
