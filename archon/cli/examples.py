"""Examples in the help of every command; tests parse each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

_TOP = (
    'archon run self-consistency "What is 17 * 23?"',
    "archon eval self-consistency gsm8k --limit 50",
    "archon ls architectures",
)

EXAMPLES: Mapping[str, Sequence[str]] = {
    "": _TOP,
    "run": (
        'archon run self-consistency "What is 17 * 23?"',
        'archon run self-consistency -m smollm2-135m --set budget.max_tokens=900 "What is 2 + 3?"',
        "archon run best-of-n --trace --json < question.txt",
    ),
    "chat": (
        "archon chat self-consistency",
        'archon chat smollm2-135m --system "Answer in one sentence." --temperature 0.7',
        'echo "What is 17 * 23?" | archon chat single',
    ),
    "eval": (
        "archon eval self-consistency gsm8k --limit 50",
        "archon eval self-consistency gsm8k --set budget.max_tokens=4000 --temperature 0.8",
        "archon eval single questions.csv --question problem --target solution",
        "archon eval rank-fuse gsm8k --output runs/first --resume --require accuracy=0.6",
    ),
    "compare": (
        "archon compare single self-consistency -b gsm8k --limit 100",
        "archon compare runs/first runs/second",
    ),
    "curve": ("archon curve self-consistency best-of-n -b gsm8k --samples 1,2,4,8,16",),
    "resume": ("archon resume runs/first", "archon resume runs/first --limit 200"),
    "search": (
        "archon search small gsm8k --trials 40 --study first",
        "archon search small arithmetic --objective accuracy,tokens --max-tokens 2000",
    ),
    "view": ("archon view runs/first --open", "archon view runs --output index.html"),
    "rm": ("archon rm runs/first", "archon rm runs/first runs/second --yes"),
    "export": (
        "archon export runs/first > items.jsonl",
        "archon export runs/first --format csv --output items.csv",
    ),
    "serve": (
        "archon serve self-consistency smollm2-135m",
        "archon serve best-of-n --host 0.0.0.0 --port 8080 --api-key-env ARCHON_KEY",
    ),
    "validate": ("archon validate my-architecture.json", "archon validate cards/*.json --json"),
    "schema": ("archon schema architecture > architecture.schema.json",),
    "show": (
        "archon show self-consistency",
        "archon show self-consistency --cost --set budget.max_tokens=4000",
    ),
    "convert": ("archon convert config.json --output converted.archon.json",),
    "ls": (
        "archon ls",
        "archon ls architectures",
        "archon ls runs experiments --json",
    ),
    "models": ("archon models ls", "archon models pull smollm2-135m"),
    "models ls": ("archon models ls",),
    "models pull": ("archon models pull smollm2-135m", "archon models pull hf:Qwen/Qwen3-0.6B"),
    "models show": ("archon models show qwen2.5-coder-0.5b",),
    "models rm": ("archon models rm smollm2-135m",),
    "cache": ("archon cache ls", "archon cache clear"),
    "cache ls": ("archon cache ls --json",),
    "cache clear": ("archon cache clear", "archon cache clear all"),
    "train": ("archon train sft sft.json",),
    "bench": ("archon bench engine --model smollm2-135m",),
    "bench engine": ("archon bench engine --model smollm2-135m --num-prompts 8",),
    "bench graph": ("archon bench graph self-consistency --num-questions 200",),
    "bench peers": ("archon bench peers --model smollm2-135m --pairs 5",),
    "bench serve": ("archon bench serve --model smollm2-135m --seconds 10",),
    "bench quality": ("archon bench quality text.txt --model smollm2-135m",),
    "doctor": ("archon doctor", "archon doctor --json", "archon doctor --online"),
    "completion": (
        "echo 'eval \"$(archon completion bash)\"' >> ~/.bashrc",
        "echo 'eval \"$(archon completion zsh)\"' >> ~/.zshrc",
        "archon completion fish > ~/.config/fish/completions/archon.fish",
    ),
}
"""Words that call a command, without ``archon`` → command lines."""


def examples_of(command_path: str) -> Sequence[str]:
    """Return the examples of a command, such as ``archon models pull``.

    The subcommands of ``archon train`` share a pattern.
    """
    words = command_path.partition(" ")[2]
    if words.startswith("train "):
        kind = words.removeprefix("train ")
        return (f"archon train {kind} {kind}.json", f"archon train {kind} {kind}.json --resume")
    return EXAMPLES.get(words, ())


def write_examples(command_path: str, formatter: click.HelpFormatter) -> None:
    """Write the section with the examples of a command; lines are not wrapped, to be copied."""
    lines = examples_of(command_path)
    if lines:
        with formatter.section("Examples"):
            for line in lines:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
