"""Chat templates in the styles that are published, written for these tests, and a tiny tokenizer
that has the tokens of them all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_models import tiny_vocabulary
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

CHATML = """\
{%- if not messages or messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nReply to what is asked.<|im_end|>\\n' }}
{%- endif %}
{%- for turn in messages %}
    {{- '<|im_start|>' ~ turn['role'] ~ '\\n' ~ turn['content'] ~ '<|im_end|>' ~ '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

GENERATION = """\
{%- for turn in messages %}
    {{- '<|im_start|>' + turn.role + '\\n' }}
    {%- if turn.role == 'assistant' %}
        {%- generation %}
            {{- turn.content }}
            {{- '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- turn.content + '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{{- '<|im_start|>assistant\\n' if add_generation_prompt else '' }}
"""

LLAMA3 = """\
{#- Header, blank line, trimmed text; the system turn always comes, and says what day it is. -#}
{%- macro head(who) %}{{- '<|start_header_id|>' + who + '<|end_header_id|>\\n\\n' }}{%- endmacro %}
{%- set day = date_string if date_string is defined else strftime_now('%d %B %Y, %A') %}
{%- set rules = messages[0]['content'] | trim if messages[0]['role'] == 'system' else '' %}
{%- set turns = messages[1:] if messages[0]['role'] == 'system' else messages %}
{{- bos_token }}
{{- head('system') }}
{{- 'Day: ' + day + '\\n\\n' + rules + '<|eot_id|>' }}
{%- for turn in turns %}
    {{- head(turn['role']) + turn['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- head('assistant') }}
{%- endif %}
"""

LLAMA3_FIRST = """\
{% for turn in messages %}
{% set piece = '<|start_header_id|>' + turn.role + '<|end_header_id|>\\n\\n' + turn.content|trim %}
{% if loop.first %}{% set piece = bos_token + piece %}{% endif %}
{{- piece + '<|eot_id|>' }}
{% endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN3 = """\
{%- set place = namespace(seeking=true, last_question=messages | length - 1) %}
{%- for turn in messages[::-1] %}
    {%- set at = messages | length - 1 - loop.index0 %}
    {%- set is_result = turn.content is string and turn.content.startswith('<tool_response>') %}
    {%- if place.seeking and turn.role == 'user' and not is_result %}
        {%- set place.seeking = false %}
        {%- set place.last_question = at %}
    {%- endif %}
{%- endfor %}
{%- for turn in messages %}
    {%- set said = turn.content if turn.content is string else '' %}
    {%- set thought = '' %}
    {%- if turn.role == 'assistant' and '</think>' in said %}
        {%- set halves = said.split('</think>') %}
        {%- set thought = halves[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- set said = halves[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + turn.role + '\\n' }}
    {%- if loop.index0 > place.last_question and (loop.last or thought) %}
        {{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}
    {%- endif %}
    {{- said + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

GEMMA = """\
{{ bos_token }}
{%- for turn in messages %}
    {%- if turn['role'] == 'system' %}
        {{- raise_exception('There is no system role') }}
    {%- elif (turn['role'] == 'user') == (loop.index0 % 2 == 1) %}
        {{- raise_exception('Turns of user and model must alternate') }}
    {%- endif %}
    {%- set who = 'model' if turn['role'] == 'assistant' else turn['role'] %}
    {{- '<start_of_turn>' + who + '\\n' + turn['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}
"""

MISTRAL = """\
{%- set rules, turns = '', messages %}
{%- if messages[0].role == 'system' %}
    {%- set rules, turns = messages[0].content + '\\n\\n', messages[1:] %}
{%- endif %}
{{- bos_token }}
{%- for turn in turns %}
    {%- if turn.role != ['user', 'assistant'][loop.index0 % 2] %}
        {{- raise_exception('After the system message, user and assistant take turns') }}
    {%- endif %}
    {%- if turn.role == 'user' %}
        {{- '[INST] ' + (rules if loop.last else '') + turn.content + '[/INST]' }}
    {%- else %}
        {{- ' ' + turn.content | trim + eos_token }}
    {%- endif %}
{%- endfor %}
"""

MISTRAL_NO_SYSTEM = """\
{{ bos_token }}{% for turn in messages %}
{% if (turn['role'] == 'user') != (loop.index0 is divisibleby 2) %}
{{ raise_exception('Roles take turns: user, assistant, user, …') }}
{% endif %}
{% if turn['role'] == 'user' %}{{ '[INST] ' + turn['content'] + ' [/INST]' }}
{% elif turn['role'] == 'assistant' %}{{ turn['content'] + eos_token }}
{% else %}{{ raise_exception('Only user and assistant are known') }}{% endif %}
{% endfor %}
"""

PHI = """\
{% for turn in messages %}
{{ '<|' ~ turn['role'] ~ '|>' }}
{{ turn['content'] ~ '<|end|>' }}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>\\n' -}}
{% else %}
{{ eos_token -}}
{% endif %}
"""

SMOLLM3 = """\
{%- set think = enable_thinking | default(true) %}
{%- set rules = '' %}
{%- if messages[0].role == 'system' %}
    {%- set rules = messages[0].content %}
    {%- if '/no_think' in rules %}
        {%- set think = false %}
    {%- elif '/think' in rules %}
        {%- set think = true %}
    {%- endif %}
    {%- set rules = rules.replace('/no_think', '').replace('/think', '').rstrip() %}
{%- endif %}
{{- '<|im_start|>system\\n## Metadata\\n\\nDate: ' ~ strftime_now('%d %B %Y') ~ '\\n' }}
{{- 'Mode: ' ~ ('/think' if think else '/no_think') ~ '\\n\\n## Instructions\\n\\n' }}
{{- (rules if rules else 'Be of use.') ~ '\\n\\n<|im_end|>\\n' }}
{%- for turn in messages if turn.role != 'system' %}
    {%- if turn.role == 'user' %}
        {{- '<|im_start|>user\\n' ~ turn.content ~ '<|im_end|>\\n' }}
    {%- else %}
        {%- generation %}
            {%- if think %}
                {{- '<|im_start|>assistant\\n' ~ turn.content.lstrip('\\n') ~ '<|im_end|>\\n' }}
            {%- else %}
                {{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n' ~ turn.content }}
                {{- '<|im_end|>\\n' }}
            {%- endif %}
        {%- endgeneration %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' ~ ('' if think else '<think>\\n\\n</think>\\n') }}
{%- endif %}
"""

R1 = """\
{%- if add_generation_prompt is not defined %}{% set add_generation_prompt = false %}{% endif -%}
{%- set found = namespace(rules='') %}
{%- for turn in messages if turn['role'] == 'system' %}
    {%- set found.rules = turn['content'] %}
{%- endfor -%}
{{ bos_token }}{{ found.rules }}
{%- for turn in messages %}
    {%- if turn['role'] == 'user' %}{{ '<｜User｜>' + turn['content'] }}{% endif %}
    {%- if turn['role'] == 'assistant' and turn['content'] is not none %}
        {%- set said = turn['content'] %}
        {%- if '</think>' in said %}{% set said = said.split('</think>')[-1] %}{% endif %}
        {{- '<｜Assistant｜>' + said + '<｜end▁of▁sentence｜>' }}
    {%- endif %}
{%- endfor -%}
{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}
"""

JSON_STYLE = """\
{%- for turn in messages %}
    {%- if turn.role == 'system' %}{% continue %}{% endif %}
    {%- for key, value in turn.items() %}{{ key }}={{ value | tojson }};{% endfor %}
    {{- turn | tojson(indent=2, sort_keys=true) }}
    {{- turn.content | tojson(ensure_ascii=true) }}
    {{- turn | tojson(separators=(',', ':')) }}<|im_end|>
{%- endfor %}
{{- tools | tojson }} {{ documents is none }} {{ unknown }} {{ unknown is defined }}
{%- set d = dict(a=1) %}{{ d.a }}{{ '%s-%d' | format('x', 3) }}
"""

STYLES = {
    "chatml": CHATML,
    "generation": GENERATION,
    "llama3": LLAMA3,
    "llama3-first": LLAMA3_FIRST,
    "qwen3": QWEN3,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "mistral-no-system": MISTRAL_NO_SYSTEM,
    "phi": PHI,
    "smollm3": SMOLLM3,
    "r1": R1,
    "json": JSON_STYLE,
}
CONTROL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<s>", "</s>",
    "[INST]", "[/INST]", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<｜User｜>",
    "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
)  # fmt: skip
WORDS = ("<think>", "</think>", "<tool_response>", "</tool_response>")
_NAMED = {"bos_token": "<bos>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def added(text: str, id_: int, **flags: bool) -> dict[str, Any]:
    """A row of ``added_tokens``."""
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": id_, "content": text, **plain, **flags}


def write_text_files(
    folder: Path,
    template: str | None,
    special_words: tuple[str, ...] = (),
    rows: tuple[dict[str, Any], ...] = (),
) -> Path:
    """Write a model folder's tokenizer and configuration, without any weights.

    Parameters
    ----------
    special_words : those of ``WORDS`` that are control tokens here.
    rows : added tokens beside the usual ones; their ids follow the last one's.
    """
    vocabulary = tiny_vocabulary()
    ordinary = [t for t, kind in zip(vocabulary.tokens, vocabulary.types, strict=True) if kind == 1]
    merges = [tuple(merge.split(" ")) for merge in vocabulary.merges]
    bpe = Tokenizer(BPE(vocab={t: i for i, t in enumerate(ordinary)}, merges=merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    names = (*CONTROL, *WORDS)
    stated = json.loads(bpe.to_str())
    stated["added_tokens"] = [
        added(name, len(ordinary) + i, special=name in CONTROL or name in special_words)
        for i, name in enumerate(names)
    ] + [row | {"id": len(ordinary) + len(names) + i} for i, row in enumerate(rows)]
    folder.mkdir(parents=True, exist_ok=True)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **_NAMED}
    (folder / "tokenizer.json").write_text(json.dumps(stated))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": 0}))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder
