"""The notations in which models write tool calls, and the choice of one by the chat template.

The template decides, not the name of the model: it shows a model's own calls of earlier turns, and
many also describe the notation in the prompt. The first format applies all of whose ``signs`` are
in the template. A model whose template has tools but no known signs gets ``JSON``, the most usual
notation without markers.

Sources are the published chat templates of the models named in ``source``, and for
``SPECIAL`` markers their tokenizers.
"""

from __future__ import annotations

from dataclasses import dataclass

from archon.lm.tool_calls import readers
from archon.lm.tool_calls.readers import Reader

NAME, ARGUMENTS = "\ue000name\ue000", "\ue000arguments\ue000"
"""Placeholders in ``ToolFormat.pattern``."""
_OBJECT = f'{{"name": "{NAME}", "arguments": {ARGUMENTS}}}'


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """A notation of tool calls."""

    name: str
    source: str
    """Models whose published templates have the notation."""
    signs: tuple[str, ...]
    """Texts in a chat template that identify the format."""
    begins: tuple[str, ...]
    """Texts that open a block of calls. Empty if a call has no marker."""
    read: Reader
    """Reads the calls after the text that opens them."""
    pattern: str = _OBJECT
    """A call, with placeholders, to which ``tool_choice`` can restrict a reply. A format whose
    arguments are not JSON has the notation in JSON, which is read as well."""
    markers: tuple[str, ...] = ()
    """Further texts within calls that may be special tokens."""

    has_short_ids: bool = False
    """Whether the template accepts only ids of nine letters and digits."""

    @property
    def special(self) -> tuple[str, ...]:
        """Texts that may be special tokens, which decoding would otherwise omit."""
        return (*self.begins, *self.markers)


_TAGGED = f"<tool_call>\n{_OBJECT}\n</tool_call>"
JSON = ToolFormat("json", "templates without markers of calls", (), (), readers.json_until())
FORMATS: tuple[ToolFormat, ...] = (
    ToolFormat(
        "function_tags",
        "Qwen3-Coder, Nemotron 3",
        ("<function=", "<parameter="),
        ("<tool_call>", "<function="),
        readers.function_tags,
        _TAGGED,
        ("</tool_call>",),
    ),
    ToolFormat(
        "key_value_tags",
        "GLM 4.5",
        ("<arg_key>",),
        ("<tool_call>",),
        readers.key_value_tags,
        _TAGGED,
        ("</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    ),
    ToolFormat(
        "mistral_arguments",
        "Mistral Small 3.2, Magistral, Devstral",
        ("[TOOL_CALLS]", "[ARGS]"),
        ("[TOOL_CALLS]",),
        readers.mistral,
        f"[TOOL_CALLS]{NAME}[ARGS]{ARGUMENTS}",
        ("[ARGS]", "[CALL_ID]"),
        has_short_ids=True,
    ),
    ToolFormat(
        "mistral",
        "Mistral 7B Instruct v0.3, Nemo, Small 3.1",
        ("[TOOL_CALLS]",),
        ("[TOOL_CALLS]",),
        readers.mistral,
        f"[TOOL_CALLS] [{_OBJECT}]",
        has_short_ids=True,
    ),
    ToolFormat(
        "deepseek_code",
        "DeepSeek V3, R1",
        ("<｜tool▁call▁begin｜>", "```json"),
        ("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"),
        readers.deepseek,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>"
        f"{NAME}\n```json\n{ARGUMENTS}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ("<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
    ),
    ToolFormat(
        "deepseek",
        "DeepSeek V3.1",
        ("<｜tool▁call▁begin｜>",),
        ("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"),
        readers.deepseek,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
        f"{NAME}<｜tool▁sep｜>{ARGUMENTS}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ("<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
    ),
    ToolFormat(
        "kimi",
        "Kimi K2",
        ("<|tool_call_argument_begin|>",),
        ("<|tool_calls_section_begin|>", "<|tool_call_begin|>"),
        readers.kimi,
        "<|tool_calls_section_begin|><|tool_call_begin|>"
        f"functions.{NAME}:0<|tool_call_argument_begin|>{ARGUMENTS}"
        "<|tool_call_end|><|tool_calls_section_end|>",
        ("<|tool_call_argument_begin|>", "<|tool_call_end|>", "<|tool_calls_section_end|>"),
    ),
    ToolFormat(
        "function_gemma",
        "FunctionGemma",
        ("<start_function_call>",),
        ("<start_function_call>",),
        readers.gemma("<escape>", "<end_function_call>"),
        markers=("<end_function_call>", "<escape>"),
    ),
    ToolFormat(
        "gemma4",
        "Gemma 4",
        ("<|tool_call>",),
        ("<|tool_call>",),
        readers.gemma('<|"|>', "<tool_call|>"),
        markers=("<tool_call|>", '<|"|>'),
    ),
    ToolFormat(
        "command",
        "Command R7B, Command A",
        ("<|START_ACTION|>",),
        ("<|START_ACTION|>",),
        readers.json_until("<|END_ACTION|>"),
        f'<|START_ACTION|>[{{"tool_call_id": "0", "tool_name": "{NAME}", '
        f'"parameters": {ARGUMENTS}}}]<|END_ACTION|>',
        ("<|END_ACTION|>",),
    ),
    ToolFormat(
        "lfm2",
        "LFM2",
        ("<|tool_call_start|>",),
        ("<|tool_call_start|>",),
        readers.python("<|tool_call_end|>"),
        markers=("<|tool_call_end|>",),
    ),
    ToolFormat(
        "granite",
        "Granite 3, Phi-4-mini",
        ("<|tool_call|>",),
        ("<|tool_call|>", "<tool_call>"),
        readers.json_until("<|/tool_call|>", "</tool_call>"),
        f"<|tool_call|>[{_OBJECT}]",
        ("<|/tool_call|>", "</tool_call>"),
    ),
    ToolFormat(
        "hermes",
        "Hermes 2 Pro and 3, Qwen2.5, Qwen3, SmolLM3, Granite 4",
        ("<tool_call>",),
        ("<tool_call>",),
        readers.json_until("</tool_call>"),
        _TAGGED,
        ("</tool_call>",),
    ),
    ToolFormat(
        "llama",
        "Llama 3.1, 3.2 and 3.3",
        ("ipython",),
        ("<|python_tag|>",),
        readers.bare_json,
        f'{{"name": "{NAME}", "parameters": {ARGUMENTS}}}',
    ),
)
"""All formats. The first whose signs are in a template applies, so special ones come first."""


def format_of(template: str) -> ToolFormat:
    """Return the format of a chat template that has tools.

    >>> format_of("{{ '<tool_call>' }}").name
    'hermes'
    >>> format_of("{{ tools }}").name
    'json'
    """
    matching = (f for f in FORMATS if all(sign in template for sign in f.signs))
    return next(matching, JSON)
