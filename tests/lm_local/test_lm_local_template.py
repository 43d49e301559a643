"""Chat templates are untrusted programs: limits on what they may do, use and keep."""

import os
import time
import warnings
from typing import Any

import pytest

from archon.lm.local.template import ChatTemplate, TemplateError
from archon.lm.local.template_worker import MAX_SECONDS


def rendered(template: ChatTemplate, **values: Any) -> str:
    text = template.render_all([values])[0]
    assert text is not None
    return text


def test_a_template_is_rendered_with_its_values() -> None:
    template = ChatTemplate("{% for m in messages %}{{ m.content }}\u2028{% endfor %}")
    assert (
        rendered(template, messages=[{"content": "a\n"}, {"content": "數"}]) == "a\n\u2028數\u2028"
    )


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n - 1) if n }}{{ f(n - 1) if n }}{% endmacro %}{{ f(64) }}",
        "{{ 9 ** (9 ** 9) }}",
    ],
)
def test_a_slow_template_is_ended_and_the_next_one_is_rendered(source: str) -> None:
    before = time.process_time()
    with pytest.raises(TemplateError):
        rendered(ChatTemplate(source))
    assert time.process_time() - before < MAX_SECONDS, "the time is another process's"
    assert rendered(ChatTemplate("{{ 1 + 1 }}")) == "2"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10 ** 10 }}",
        "{{ 'a'.ljust(10 ** 10) }}",
        "{{ '%10000000000d' % 1 }}",
        "{% set n = namespace(s='ab') %}"
        "{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
        "{{ 'a' * 10 ** 8 }}",
    ],
)
def test_a_template_with_too_much_memory_fails(source: str) -> None:
    with pytest.raises(TemplateError):
        rendered(ChatTemplate(source))
    assert rendered(ChatTemplate("{{ 1 + 1 }}")) == "2"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ raise_exception.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ oops",
        "{% if " * 3000,
        "{{ " + "(" * 3000 + ")" * 3000 + " }}",
    ],
)
def test_a_template_that_leaves_the_sandbox_fails(source: str) -> None:
    with pytest.raises(TemplateError):
        assert "class" not in rendered(
            ChatTemplate(source + "{{ raise_exception('end') }}"), messages=[]
        )


def test_a_forked_process_has_its_own_renderer() -> None:
    template = ChatTemplate("{{ x }}")
    with warnings.catch_warnings(action="ignore"):  # the child touches no other thread's work
        pid = os.fork()
    if pid == 0:
        os._exit(0 if rendered(template, x="child") == "child" else 1)
    texts = {rendered(template, x="parent") for _ in range(50)}
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert texts == {"parent"}
