"""A trace as a person reads it: what every node was asked, and what it answered."""

from __future__ import annotations

from archon.cli.console import console
from archon.graph.trace import CallTrace, Trace
from archon.types import Candidate


def print_trace(trace: Trace) -> None:
    """Print every prompt and completion on standard error, and the candidates, node by node."""
    out = console()
    for node in trace.nodes.values():
        out.rule(f"{node.node} ({node.type}), {node.seconds:.2f} s", align="left")
        if node.bypassed:
            out.print("passed by: its condition was false", style="dim")
        if node.cut:
            out.print(f"cut short: the budget had too few {node.cut} left", style="yellow")
        for call in node.calls:
            _print_call(call)
        for test in node.tests:
            out.print(f"test: {test.text}", style="magenta", soft_wrap=True)
        for candidate in node.outputs:
            score = "" if candidate.score is None else f", score {candidate.score:g}"
            value = "no value" if candidate.value is None else f"value {candidate.value}"
            said = f"{value}{score}{_said(node.node, candidate)}"
            out.print(f"→ {_label(candidate)}: {said}", style="green", soft_wrap=True)
        for candidate in node.dropped:
            out.print(
                f"dropped {_label(candidate)}{_said(node.node, candidate)}",
                style="red",
                soft_wrap=True,
            )


def _label(candidate: Candidate) -> str:
    return f"{candidate.id.node}[{candidate.id.draw}]"


def _said(node: str, candidate: Candidate) -> str:
    """The verdict and the marks that a node gave a candidate."""
    own = [a for a in candidate.annotations if a.node == node and a.kind in ("mark", "verdict")]
    reasons = (f" ({a.reason})" if a.kind == "mark" and a.reason else "" for a in own)
    return "".join(f", {a.value}{reason}" for a, reason in zip(own, reasons, strict=True))


def _print_call(call: CallTrace) -> None:
    out = console()
    for message in call.messages:
        out.print(f"{message.role}:", style="bold")
        out.print(message.content, soft_wrap=True)
    for completion in call.completions:
        tokens = f"{completion.usage.completion_tokens} tokens, {completion.finish_reason}"
        out.print(f"draw {completion.draw} ({tokens}):", style="bold cyan")
        if completion.error is not None:
            out.print(f"failed: {completion.error}", style="red", soft_wrap=True, markup=False)
        for choice, logprob in (completion.choice_logprobs or {}).items():
            out.print(f"{logprob:8.3f}  {choice}", soft_wrap=True)
        if completion.reasoning:
            out.print(completion.reasoning, style="dim", soft_wrap=True)
        if completion.is_reasoning_cut_off:
            out.print("(the reasoning was cut off; there is no answer)", style="yellow")
        for note in completion.notes:
            out.print(f"note: {note}", style="yellow", soft_wrap=True)
        out.print(completion.text, soft_wrap=True)
