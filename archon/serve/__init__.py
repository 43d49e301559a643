"""The OpenAI-compatible server over any language models. Needs the extra ``serve``."""

from archon.errors import require

require("starlette", "serve")
require("uvicorn", "serve")
