"""``docs/guides/serving.md`` agrees with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

from click import IntRange

from archon.cli.serve import serve
from archon.serve.asgi_io import KEEP_ALIVE_SECONDS
from archon.serve.fields import MESSAGE, PART, REQUEST, STREAM_OPTIONS, Rule
from archon.serve.limits import LARGEST_BODY_BYTES, Limits
from archon.serve.requests import ChatRequest
from archon.spec.architecture import ServeSpec

PAGE = (Path(__file__).parents[2] / "docs/guides/serving.md").read_text()
RULES = {
    f"{place}{name}": rule
    for place, rules in (
        ("", REQUEST),
        ("messages[].", MESSAGE),
        ("messages[].content[].", PART),
        ("stream_options.", STREAM_OPTIONS),
    )
    for name, rule in rules.items()
}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without the table head."""
    section = PAGE.partition(f"# {heading}\n")[2]
    section = re.split(r"^#", section, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert lines, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def listed(heading: str) -> list[str]:
    return [name for row in rows(heading) for name in quoted(row[0])]


def of_kind(kind: str) -> dict[str, Rule]:
    return {name: rule for name, rule in RULES.items() if rule.kind == kind}


def accepted(heading: str) -> dict[str, list[Any]]:
    return {
        name: [json.loads(value) for value in quoted(row[1])]
        for row in rows(heading)
        for name in quoted(row[0])
    }


def test_every_field_that_is_applied_is_described_once() -> None:
    assert sorted(listed("Applied")) == sorted(ChatRequest.model_fields)


def test_every_field_that_is_accepted_is_listed_once() -> None:
    assert sorted(listed("Accepted")) == sorted(of_kind("label"))


def test_every_field_that_is_ignored_is_listed_with_its_neutral_values() -> None:
    rules = of_kind("hint")
    assert sorted(listed("Ignored and reported")) == sorted(rules)
    neutral = {name: list(rule.neutral) for name, rule in rules.items()}
    assert accepted("Ignored and reported") == neutral


def test_every_rejected_field_is_listed_with_its_neutral_values() -> None:
    rules = of_kind("unsupported")
    assert sorted(listed("Rejected")) == sorted(rules)
    assert accepted("Rejected") == {name: list(rule.neutral) for name, rule in rules.items()}


def test_no_field_that_is_applied_has_a_rule() -> None:
    assert not REQUEST.keys() & ChatRequest.model_fields.keys()


def test_the_limits_are_those_of_the_command() -> None:
    options = {option.opts[0]: option for option in serve.params if option.opts}
    limits = Limits()
    for flag, default, _ in rows("Limits"):
        [name] = quoted(flag)
        value = options[name].default
        shown = "4 MiB" if value == 4 << 20 else f"{value:,}"
        assert default == shown
        field = name.removeprefix("--").replace("-", "_")
        assert getattr(limits, field, value) == value
    largest = options["--max-body-bytes"].type
    assert isinstance(largest, IntRange)
    assert largest.max == LARGEST_BODY_BYTES == 64 << 20
    assert limits.max_body_bytes < LARGEST_BODY_BYTES
    assert f"silent for {KEEP_ALIVE_SECONDS} seconds" in PAGE


def test_the_values_of_request_sampling_are_listed() -> None:
    annotation = ServeSpec.model_fields["request_sampling"].annotation
    values = [value for member in get_args(annotation) for value in get_args(member)]
    assert listed("Sampling of architectures") == [json.dumps(value) for value in values]
