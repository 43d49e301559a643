"""Convert between text and token ids.

``bpe`` contains the tokenizer (``TextTokenizer``), and ``added_tokens`` finds the tokens that are
matched before byte-pair encoding. ``config`` contains ``TokenizerConfig``, the definitions in a
model's files. ``gguf`` (with ``pretokenizers``) reads them from a GGUF file, and ``folder`` from a
model folder.
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
        The model has no tokenizer, or its tokenizer is damaged or of an unsupported type.
    """
    if isinstance(file, GGUFFile):
        return tokenizer_config_of_gguf(file)
    return tokenizer_config_of_folder(file)
