"""Prompts equal those of transformers for the same messages, as strings and token ids."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jinja2
import pytest
from chat_styles import CONTROL, STYLES, WORDS, write_text_files
from hypothesis import given
from hypothesis import strategies as st
from prompt_doubles import CONVERSATIONS, VARIABLES, Pair, conversation, open_pair, pair

from archon.errors import ModelFileError, UnsupportedError
from archon.lm.local.chat import ChatFormat, ChatPrompt
from archon.spec.thinking import RESERVED_VARIABLES
from archon.types import Message


def with_system_in_user(messages: tuple[Message, ...]) -> tuple[Message, ...] | None:
    """Of conversations with one system message, which the user's follows; None of others."""
    roles = [message.role for message in messages]
    if "system" not in roles or len(roles) < 2:
        return None
    at = roles.index("system")
    merged = Message("user", f"{messages[at].content}\n\n{messages[at + 1].content}")
    return (*messages[:at], merged, *messages[at + 2 :])


# ------------------------------------------------------------------------ published styles


@pytest.mark.parametrize("variables", VARIABLES, ids=str)
@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("style", STYLES)
def test_a_prompt_equals_the_string_that_transformers_renders(
    style: str, name: str, variables: dict[str, Any]
) -> None:
    both, messages = pair(STYLES[style]), conversation(name)
    try:
        expected = both.expected_text(messages, **variables)
    except jinja2.TemplateError as error:
        check_what_the_template_rejects(both, messages, variables, error)
        return
    prompt = both.ours.prompt(messages, variables)
    assert prompt.text == expected
    assert list(prompt.ids) == both.expected_ids(messages, **variables)


def check_what_the_template_rejects(
    both: Pair,
    messages: tuple[Message, ...],
    variables: dict[str, Any],
    error: jinja2.TemplateError,
) -> None:
    """A system text goes into the user's; else the template's own reason is given."""
    merged = with_system_in_user(messages)
    if merged is None:
        reason = re.escape(f"the chat template rejects these messages: {error}")
        with pytest.raises(UnsupportedError, match=reason):
            both.ours.prompt(messages, variables)
        return
    prompt = both.ours.prompt(messages, variables)
    assert prompt.text == both.expected_text(merged, **variables)
    assert list(prompt.ids) == both.expected_ids(merged, **variables)
    assert prompt.notes[-1] == (
        f"the chat template rejects the system role ({error}); "
        "the system text is prepended to the user's message instead"
    )


def test_every_style_is_tested_with_a_rejection_and_a_rendering() -> None:
    """The matrix would prove little if its templates rejected all, or nothing."""
    rejected = dict.fromkeys(STYLES, 0)
    for style in STYLES:
        for name in CONVERSATIONS:
            try:
                pair(STYLES[style]).expected_text(conversation(name))
            except jinja2.TemplateError:
                rejected[style] += 1
    assert all(count <= len(CONVERSATIONS) - 4 for count in rejected.values())
    assert {style for style, count in rejected.items() if count} == {
        "gemma", "mistral", "mistral-no-system",
    }  # fmt: skip


@given(
    style=st.sampled_from(sorted(STYLES)),
    content=st.lists(
        st.one_of(
            st.sampled_from(
                [*WORDS, "<", "|", ">", "[", " ", "\n", "/think", "/no_think", "im_end"]
            ),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
        ),
        max_size=8,
    ).map("".join),
)
def test_any_content_without_control_tokens_has_the_same_prompt_as_in_transformers(
    style: str, content: str
) -> None:
    both, messages = pair(STYLES[style]), (Message("user", content),)
    if any(name in content for name in CONTROL):
        return
    prompt = both.ours.prompt(messages)
    assert prompt.text == both.expected_text(messages)
    assert list(prompt.ids) == both.expected_ids(messages)


# ----------------------------------------------------------------- what a template is given


@pytest.mark.parametrize(
    "template",
    [
        "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ unk_token }}",
        "{{ bos_token is defined }}{{ cls_token is defined }}",
        "{{ messages[0] is mapping }}{{ messages[0]['content'] }}{{ messages[0].missing }}",
        "{{ tools is none }}{{ documents is none }}{{ tools }}{% if tools %}x{% endif %}",
        "{% set ns = namespace(a=[]) %}{% set ns.a = ns.a + [1] %}{{ ns.a }}",
        "{{ namespace(self=1).self }}",
        "{% for m in messages %}{% if loop.index0 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
        "{{ {'b': [1, none, true, 2.5], 'a': 'é<'} | tojson }}",
        "{{ {'b': 1, 'a': 2} | tojson(indent=4, ensure_ascii=False, sort_keys=True) }}",
        "{{ messages | tojson(separators=(', ', '='), ensure_ascii=True) }}",
        "{{ dict(a=1, **{'b': 2}) }}{{ dict.fromkeys([1, 2], 0) }}",
        "{{ strftime_now('%Y-%m-%d %%') }}",
        "line one   \n  {% if true %}\nline two\n  {% endif %}\nlast\n\n",
        "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
        "{% for m in messages %}{%- generation -%} {{ m.content }} {% endgeneration %}{% endfor %}",
        "{{ messages[0].content | upper | replace('E', '3') | list | join('-') }}",
        "{{ messages[0].content[1:4] }}{{ messages[0].content.title() }}",
        "{{ messages[0].content | e }}{{ messages[0].content | urlencode }}",
        "{{ messages[0].content | length + 1 }}{{ messages | map(attribute='role') | list }}",
        "{{ thing is defined }}{{ thing.of }}{{ other }}",
    ],
)  # fmt: skip
def test_a_template_gets_the_same_values_as_in_transformers(template: str) -> None:
    both = pair(template)
    for content in ("what <is> this & that", "<|im_end|>", "7"):
        messages = (Message("user", content), Message("assistant", "é"))
        variables = {"thing": {"of": [1, "x"]}}
        prompt = both.ours.prompt(messages, variables)
        assert prompt.text == both.expected_text(messages, **variables)


@pytest.mark.parametrize("stated", [{}, {"bos_token": None}, {"bos_token": ""}])
def test_a_missing_special_token_is_undefined_and_concatenates_as_empty(
    stated: dict[str, Any], tmp_path: Path
) -> None:
    template = "{{ bos_token is defined }}{{ bos_token }}{{ bos_token + 'x' + bos_token }}"
    write_text_files(tmp_path, template)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(stated))
    assert open_pair(tmp_path, template).ours.prompt((Message("user", "a"),)).text == "Falsex"


@pytest.mark.parametrize(
    "config",
    [
        {
            "bos_token": {"__type": "AddedToken", "content": "<s>", "special": True},
            "image_token": "<|user|>",
        },
        {"bos_token": "<s>", "extra_special_tokens": {"image_token": "<|user|>"}},
    ],
)
def test_named_tokens_are_variables(config: dict[str, Any], tmp_path: Path) -> None:
    template = "{{ bos_token }}{{ image_token }}{{ messages[0].content }}"
    write_text_files(tmp_path, template)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    both = open_pair(tmp_path, template)
    messages = (Message("user", "a"),)
    prompt = both.ours.prompt(messages)
    assert prompt.text == both.expected_text(messages) == "<s><|user|>a"
    assert list(prompt.ids) == both.expected_ids(messages)


def test_special_tokens_of_older_folders_are_in_a_separate_file(tmp_path: Path) -> None:
    template = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"
    write_text_files(tmp_path, template)
    named = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(named))
    both = open_pair(tmp_path, template)
    messages = (Message("user", "a"),)
    assert both.ours.prompt(messages).text == both.expected_text(messages) == "<s>a</s>"


# ------------------------------------------------------------------------------ variables


@pytest.mark.parametrize("name", sorted(RESERVED_VARIABLES))
def test_reserved_variables_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"template_variables: '{name}' is reserved"):
        pair(STYLES["chatml"]).ours.prompt((Message("user", "a"),), {name: []})


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan")])
def test_a_variable_must_be_json(value: object) -> None:
    with pytest.raises(UnsupportedError, match="template_variables: "):
        pair(STYLES["chatml"]).ours.prompt((Message("user", "a"),), {"x": value})


def test_a_variable_that_no_template_reads_is_noted() -> None:
    messages = (Message("user", "a"),)
    note = "the model has no chat template with the variable 'enable_thinking'"
    variables = {"enable_thinking": False}
    assert pair(STYLES["chatml"]).ours.prompt(messages, variables).notes == (note,)
    assert pair(STYLES["qwen3"]).ours.prompt(messages, variables).notes == ()


def test_prompts_depend_on_the_variables() -> None:
    ours, messages = pair(STYLES["qwen3"]).ours, (Message("user", "a"),)
    prompts = [ours.prompt(messages, {"enable_thinking": value}) for value in (True, False)]
    assert prompts[0].text == ours.prompt(messages).text
    assert prompts[1].text.endswith("<think>\n\n</think>\n\n")


def test_a_prompt_may_end_within_reasoning() -> None:
    assert pair(STYLES["r1"]).ours.prompt((Message("user", "a"),)).text.endswith("<think>\n")


def test_a_prompt_with_the_time_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    for style, num_renderings in (("chatml", 1), ("smollm3", 2)):
        ours = open_again(style)
        calls = list[int]()
        render = ours._rendered

        def counted(*args: Any, calls: list[int] = calls, render: Any = render) -> ChatPrompt:
            calls.append(1)
            return render(*args)  # type: ignore[no-any-return]

        monkeypatch.setattr(ours, "_rendered", counted)
        for _ in range(2):
            ours.prompt((Message("user", "a"),))
        assert len(calls) == num_renderings


def open_again(style: str) -> ChatFormat:
    with TemporaryDirectory() as folder:
        path = write_text_files(Path(folder), STYLES[style])
        return open_pair(path, STYLES[style]).ours


# ---------------------------------------------------------------------------- system role


def test_an_omitted_system_message_is_noted() -> None:
    template = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    messages = (Message("system", "Be brief.\nBe kind."), Message("user", "a"))
    prompt = pair(template).ours.prompt(messages)
    assert prompt.text == "a"
    assert prompt.notes == ("the chat template omits the system message",)
    assert pair(STYLES["chatml"]).ours.prompt(messages).notes == ()


def test_each_system_text_goes_before_the_next_user_s() -> None:
    messages = (
        Message("system", "first"),
        Message("system", "second"),
        Message("user", "one"),
        Message("assistant", "two"),
        Message("system", "third"),
        Message("user", "four"),
    )
    text = pair(STYLES["mistral-no-system"]).ours.prompt(messages).text
    assert "[INST] first\n\nsecond\n\none [/INST]" in text.replace("\n[", "[")
    assert "[INST] third\n\nfour [/INST]" in text


def test_a_template_s_complaint_about_turns_is_the_error() -> None:
    ours = pair(STYLES["gemma"]).ours
    twice = (Message("system", "s"), Message("user", "a"), Message("user", "b"))
    with pytest.raises(UnsupportedError, match="Turns of user and model must alternate"):
        ours.prompt(twice)
    with pytest.raises(UnsupportedError, match="There is no system role"):
        ours.prompt((Message("system", "s"),))


# ------------------------------------------------------------------- where templates lie


def test_a_template_file_takes_precedence_over_the_configuration(tmp_path: Path) -> None:
    write_text_files(tmp_path, None)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"chat_template": "key"}))
    texts = [open_pair(tmp_path, "").ours.prompt((Message("user", "a"),)).text]
    (tmp_path / "additional_chat_templates").mkdir()
    for name in ("additional_chat_templates/default.jinja", "chat_template.jinja"):
        (tmp_path / name).write_text(name)
        texts.append(open_pair(tmp_path, "").ours.prompt((Message("user", "a"),)).text)
    assert texts == ["key", "additional_chat_templates/default.jinja", "chat_template.jinja"]


def test_several_templates_without_a_default_are_refused(tmp_path: Path) -> None:
    write_text_files(tmp_path, None)
    named = [{"name": "tool_use", "template": "x"}, {"name": "rag", "template": "y"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    with pytest.raises(ModelFileError, match=r"templates \(rag, tool_use\) is named 'default'"):
        open_pair(tmp_path, "")
