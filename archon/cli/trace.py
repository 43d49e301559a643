"""Print the trace of an answer for ``archon run --trace``."""

from __future__ import annotations

from archon.cli.console import console, print_line
from archon.graph.trace import CallTrace, Trace
from archon.types import Candidate


def print_trace(trace: Trace) -> None:
    """Print the prompts, completions and candidates of each node on standard error."""
    out = console()
    for node in trace.nodes.values():
        out.rule(f"{node.node} ({node.type}), {node.seconds:.2f} s", align="left")
        if node.bypassed:
            out.print("bypassed: its condition was false", style="dim")
        if node.cut:
            out.print(f"cut short: not enough {node.cut} were left in the budget", style="yellow")
        for call in node.calls:
            _print_call(call)
        for test in node.tests:
            print_line(f"test: {test.text}", "magenta")
        for candidate in node.outputs:
            score = "" if candidate.score is None else f", score {candidate.score:g}"
            value = "no value" if candidate.value is None else f"value {candidate.value}"
            result = f"{value}{score}{_judgements(node.node, candidate)}"
            print_line(f"→ {_label(candidate)}: {result}", "green")
        for candidate in node.dropped:
            print_line(f"dropped {_label(candidate)}{_judgements(node.node, candidate)}", "red")


def _label(candidate: Candidate) -> str:
    return f"{candidate.id.node}[{candidate.id.draw}]"


def _judgements(node: str, candidate: Candidate) -> str:
    """Format a node's verdict on a candidate and its marks, such as ", fail (wrong sum)"."""
    return "".join(
        f", {a.value}" + (f" ({a.reason})" if a.kind == "mark" and a.reason else "")
        for a in candidate.annotations
        if a.node == node and a.kind in ("mark", "verdict")
    )


def _print_call(call: CallTrace) -> None:
    out = console()
    for message in call.messages:
        out.print(f"{message.role}:", style="bold")
        print_line(message.content)
    for completion in call.completions:
        tokens = f"{completion.usage.completion_tokens} tokens, {completion.finish_reason}"
        out.print(f"sample {completion.draw} ({tokens}):", style="bold cyan")
        if completion.error is not None:
            print_line(f"failed: {completion.error}", "red")
        for choice, logprob in (completion.choice_logprobs or {}).items():
            print_line(f"{logprob:8.3f}  {choice}")
        if completion.reasoning:
            print_line(completion.reasoning, "dim")
        if completion.is_reasoning_cut_off:
            out.print("(no answer: the reasoning was cut off)", style="yellow")
        for note in completion.notes:
            print_line(f"note: {note}", "yellow")
        print_line(completion.text)
