"""Every type of node, by each of its methods, does what its declaration says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from archon.errors import GraphError
from archon.graph.answer import Answer
from archon.graph.architecture import Architecture
from archon.graph.drops import Drop, drops, identity
from archon.graph.mermaid import mermaid
from archon.graph.nodes import registry
from archon.graph.nodes.declaration import Effects, Method, Reads
from archon.graph.nodes.registry import NODE_TYPES, method_of, prompt_kinds
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import PromptKind
from archon.graph.prompts.wording import Wording
from archon.graph.trace import NodeTrace
from archon.graph.validation.build import build
from archon.lm.base import LM
from archon.lm.embedding import EMBED, EmbeddingLM
from archon.lm.reward import REWARD, RewardLM, ScriptedRewardModel
from archon.lm.scripted.heuristic import HeuristicReward, HeuristicScript
from archon.lm.scripted.lm import ScriptedLM
from archon.spec.architecture import AnyNode, ArchitectureSpec
from archon.spec.common import PromptSpec
from archon.types import Candidate, CandidateId, Question, Request

QUESTION = Question("What is 2 + 3?")
PROGRAM = "```python\ndef solution():\n    return {}\n```\nThe answer is {}."
DRAFTS = (
    "2 + 3 = 5\nThe answer is 5.",
    "2 + 3 = 6\nThe answer is 6.",
    PROGRAM.format(5, 5),
    PROGRAM.format(7, 5),
    "2 + 3 = 5, so it is five.\nThe answer is 5.",
    "I do not know.",
)
NUM_SEEDS = 4
LIMITS = ("keep", "keep_first")
"""Keys that limit how many candidates a node passes on."""


@dataclass(frozen=True)
class Case:
    """One method of a type, with or without a model."""

    type: str
    name: str
    has_model: bool

    @property
    def declared(self) -> Method[Any]:
        """The method that the declaration has for such a node."""
        method = NODE_TYPES[self.type].methods[self.name]
        if self.has_model or not method.uses_model:
            return method
        assert method.without_model is not None
        return method.without_model

    @property
    def effects(self) -> Effects[Any]:
        """The declared effects of the type."""
        return NODE_TYPES[self.type].effects

    def reads(self, node: AnyNode) -> Reads:
        """The declared inputs of such a node."""
        return NODE_TYPES[self.type].reads(node)

    def __str__(self) -> str:
        parts = (self.type, self.name, "" if self.has_model else "without_model")
        return "-".join(filter(None, parts))

    def nodes(self, keep: int | None = None) -> dict[str, Any]:
        """The node, reading drafts with critiques, and the tests that it may need."""
        node_type = NODE_TYPES[self.type]
        node: dict[str, Any] = {"type": self.type, "inputs": ["notes"]}
        if node_type.chosen_by:
            node[node_type.chosen_by] = self.name
        if self.has_model:
            node["model"] = "judge"
        node |= {key: keep for key in LIMITS if keep and key in node_type.spec.model_fields}
        nodes = {
            "draft": {
                "type": "generator",
                "model": "solver",
                "samples": len(DRAFTS),
                "prompt": {"template": "bare"},
            },
            "notes": {"type": "critic", "method": "equations", "inputs": ["draft"]},
            "node": node,
        }
        method = node_type.reads(node_type.spec.model_validate(node)).tests
        if method is not None:
            nodes["tests"] = {"type": "unit_test_generator", "method": method, "model": "solver"}
            node["inputs"] = ["notes", "tests"]
        return nodes


def cases() -> Iterator[Case]:
    for name, node_type in NODE_TYPES.items():
        for method_name, method in node_type.methods.items():
            yield Case(name, method_name, method.uses_model)
            if method.without_model is not None:
                yield Case(name, method_name, False)


EVERY_METHOD = pytest.mark.parametrize("case", list(cases()), ids=str)


def script(request: Request, draw: int) -> str:
    if request.messages[-1].content == QUESTION.text:
        return DRAFTS[draw % len(DRAFTS)]
    return HeuristicScript(0.5)(request, draw)


def judge(requires: frozenset[str]) -> LM:
    """A model that can do no more than a method declares."""
    if requires == REWARD:
        return RewardLM(ScriptedRewardModel(HeuristicReward(0.5)))
    if requires == EMBED:
        return EmbeddingLM(ScriptedLM(script))
    return ScriptedLM(script, capabilities=requires or frozenset({"stream"}))


def parsed(case: Case, keep: int | None = None, **more: Any) -> ArchitectureSpec:
    data = {"version": 1, "name": "tested", "models": {"solver": "m", "judge": "m"}, **more}
    return ArchitectureSpec.model_validate({**data, "nodes": case.nodes(keep), "output": "node"})


def opened(case: Case, keep: int | None = None, **more: Any) -> Architecture:
    spec = parsed(case, keep, **more)
    lms: dict[str, LM] = {"solver": ScriptedLM(script), "judge": judge(case.declared.requires)}
    capabilities = {role: lm.capabilities for role, lm in lms.items()}
    return Architecture(build(spec, capabilities), lms, dict.fromkeys(lms))


@dataclass(frozen=True)
class Outcome:
    """One run of a node."""

    spec: AnyNode
    answer: Answer
    trace: NodeTrace
    read: dict[CandidateId, Candidate]
    keep: int | None

    @property
    def dropped(self) -> list[Drop]:
        """What the viewer shows as dropped."""
        data = self.answer.trace.to_json()
        known = {identity(c["id"]): c for node in data["nodes"] for c in node["outputs"]}
        (node,) = [node for node in data["nodes"] if node["node"] == "node"]
        return list(drops(node, known))

    def annotations(self, kind: str) -> list[list[Any]]:
        """For each candidate the values that the node annotated it with."""
        return [
            [a.value for a in c.annotations if (a.node, a.kind) == ("node", kind)]
            for c in self.trace.outputs
        ]


OUTCOMES: dict[Case, list[Outcome]] = {}
"""The runs of each case, which all tests look at and none changes."""


async def run_all(case: Case) -> list[Outcome]:
    """Several runs, with and without a limit on what is passed on."""
    if case in OUTCOMES:
        return OUTCOMES[case]
    found = OUTCOMES[case] = list[Outcome]()
    for keep in (None, 1):
        architecture = opened(case, keep)
        for seed in range(NUM_SEEDS):
            answer = await architecture.answer(QUESTION, seed=seed)
            read = {c.id: c for c in answer.trace.nodes["notes"].outputs}
            node = architecture.spec.nodes["node"]
            found.append(Outcome(node, answer, answer.trace.nodes["node"], read, keep))
    return found


@EVERY_METHOD
async def test_the_spec_selects_the_declared_method(case: Case) -> None:
    assert method_of(parsed(case).nodes["node"]) is case.declared


def num_shown(prompt: str) -> int:
    """The candidates that a prompt of a default template shows."""
    candidates = re.split("Critiques of the candidates:|And these are tests", prompt)[0]
    return len(re.findall(r"^\[\d+\]\n```", candidates, re.M))


@EVERY_METHOD
async def test_a_node_makes_no_more_calls_than_declared(case: Case) -> None:
    num_calls = 0
    for outcome in await run_all(case):
        calls = case.declared.calls(outcome.spec, len(outcome.read))
        trace = outcome.trace
        assert trace.usage.calls <= calls.count
        assert calls.minimum <= calls.count
        prompts = {call.messages for call in trace.calls}
        assert len(prompts) <= calls.num_prompts
        for messages in prompts:
            assert num_shown(messages[-1].content) <= calls.shown
        num_calls += trace.usage.calls
    makes_calls = case.declared.calls(outcome.spec, len(DRAFTS)).count > 0
    assert makes_calls == (num_calls > 0)


@EVERY_METHOD
async def test_a_node_without_its_minimum_of_calls_is_passed_by(case: Case) -> None:
    (node, *_) = [outcome.spec for outcome in await run_all(case)]
    minimum = case.declared.calls(node, len(DRAFTS)).minimum
    if minimum == 0:
        return
    others = len(DRAFTS) + (case.reads(node).tests is not None)
    architecture = opened(case, budget={"max_calls": others + minimum - 1})
    trace = (await architecture.answer(QUESTION)).trace.nodes["node"]
    assert trace.cut == "calls"
    assert not trace.calls
    assert {c.id for c in trace.outputs} == set(trace.inputs)


@EVERY_METHOD
async def test_a_node_writes_replaces_and_limits_candidates_as_declared(case: Case) -> None:
    effects, fields = case.effects, NODE_TYPES[case.type].spec.model_fields
    assert (effects.keeps is not None) == any(key in fields for key in LIMITS)
    for outcome in await run_all(case):
        passed = {c.id for c in outcome.trace.outputs}
        assert any(i.node == "node" for i in passed) == effects.writes
        assert passed.isdisjoint(outcome.read) == effects.replaces
        limit = effects.keeps(outcome.spec) if effects.keeps is not None else None
        assert outcome.keep is None or effects.keeps is None or limit == outcome.keep
        assert limit is None or len(passed) <= limit
        if limit is None and effects.usual_share == 1 and not effects.replaces:
            assert passed >= outcome.read.keys()


@EVERY_METHOD
async def test_the_viewer_explains_every_dropped_candidate(case: Case) -> None:
    dropped = [drop for outcome in await run_all(case) for drop in outcome.dropped]
    assert bool(dropped) == case.effects.drops
    for drop in dropped:
        assert drop.reason.why not in ("", "not passed on", "dropped")
        assert drop.reason.fused == case.effects.replaces


@EVERY_METHOD
async def test_a_node_annotates_candidates_as_declared(case: Case) -> None:
    effects, outcomes = case.effects, await run_all(case)
    scores = [values for outcome in outcomes for values in outcome.annotations("score")]
    assert all(bool(values) == (effects.scores is not None) for values in scores)
    given = [score for values in scores for score in values]
    if effects.scores == "grade":
        assert all(0 <= score <= 1 for score in given)
    if effects.scores == "support":
        assert max(given) > 1
    critiques = [values for outcome in outcomes for values in outcome.annotations("critique")]
    assert any(critiques) == effects.critiques
    is_changed = any(
        c.id in outcome.read and c.value != outcome.read[c.id].value
        for outcome in outcomes
        for c in outcome.trace.outputs
    )
    assert is_changed == effects.values


@EVERY_METHOD
async def test_a_node_reads_what_it_declares(case: Case) -> None:
    for outcome in await run_all(case):
        reads = case.reads(outcome.spec)
        prompts = [call.messages[-1].content for call in outcome.trace.calls]
        kind = case.declared.prompt
        shows_candidates = kind is not None and "candidates" in kind.required
        reads_critiques = reads.critiques is not False and shows_candidates
        shown = ["Critiques of the candidates:" in prompt for prompt in prompts]
        assert any(shown) == (reads_critiques and "critiques" in kind_fields(kind))
    uses = opened(case).models.uses(ScriptedLM(script)._sampling)
    assert uses["draft"].logprobs == bool(reads.likelihoods)


def kind_fields(kind: PromptKind | None) -> frozenset[str]:
    """The placeholders of the default template."""
    assert kind is not None
    return Wording(kind.templates[kind.default].wording("number")).fields


@EVERY_METHOD
async def test_a_node_writes_and_reads_tests_as_declared(case: Case) -> None:
    effects = case.effects
    for outcome in await run_all(case):
        written, writes_tests = outcome.trace.tests, effects.writes_tests
        methods = set() if writes_tests is None else {writes_tests(outcome.spec)}
        assert {test.method for test in written} == methods
        assert len(written) <= effects.max_tests(outcome.spec)
    spec = parsed(case)
    if case.reads(spec.nodes["node"]).tests is not None:
        node = spec.nodes["node"].model_copy(update={"inputs": ["notes"]})
        nodes = {"draft": spec.nodes["draft"], "notes": spec.nodes["notes"], "node": node}
        with pytest.raises(GraphError, match="tests_exist"):
            build(spec.model_copy(update={"nodes": nodes}), {})


@EVERY_METHOD
def test_a_model_without_a_required_capability_is_refused(case: Case) -> None:
    for capability in case.declared.requires:
        able = frozenset({"stream"}) | (case.declared.requires - {capability})
        with pytest.raises(GraphError, match="capabilities"):
            build(parsed(case), {"judge": able})


@EVERY_METHOD
def test_a_node_needs_inputs_as_declared(case: Case) -> None:
    spec = parsed(case)
    node = spec.nodes["node"].model_copy(update={"inputs": []})
    try:
        build(spec.model_copy(update={"nodes": {"node": node}}), {})
    except GraphError as error:
        rules = {one.rule for one in (error.errors or (error,))}
    else:
        rules = set()
    assert ("arity" in rules) == NODE_TYPES[case.type].needs_inputs


@EVERY_METHOD
def test_the_diagram_draws_the_node(case: Case) -> None:
    spec = parsed(case, keep=1)
    (line,) = [line for line in mermaid(build(spec, {})).splitlines() if '["node<br/>' in line]
    assert f"<br/>{case.type}" in line
    if NODE_TYPES[case.type].chosen_by == "method":
        assert f"method {case.name}" in line
    if case.effects.keeps is not None:
        assert re.search(r"keep(_first)? 1", line)


@pytest.mark.parametrize("kind", list(prompt_kinds()), ids=lambda kind: kind.name)
@pytest.mark.parametrize("answer", ["number", "text", "code"])
def test_templates_have_the_declared_placeholders(kind: PromptKind, answer: Any) -> None:
    candidates = [Candidate(CandidateId("draft", 0), "It is 5.", "5")]
    for template in kind.templates.values():
        fields = Wording(template.wording(answer)).fields
        assert set(kind.required) <= fields <= set(kind.placeholders(True))
    text = " ".join(f"<{{{name}}}>" for name in kind.filled)
    spec = PromptSpec.model_validate({"text": text})
    prompt = Prompt(spec, kind, reads_candidates=True)
    (message,) = prompt.messages(replace(QUESTION, answer=answer), candidates)
    assert "{" not in message.content
    assert QUESTION.text in message.content


# ------------------------------------------------------------------------ what import refuses


@pytest.mark.parametrize("name", list(NODE_TYPES))
def test_a_method_without_a_declaration_fails_at_import(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = registry.import_module(f"archon.graph.nodes.{name}")
    methods = dict(list(module.NODE_TYPE.methods.items())[1:])
    monkeypatch.setattr(module, "NODE_TYPE", replace(module.NODE_TYPE, methods=methods))
    with pytest.raises(TypeError, match=name):
        dict(registry._declared())


@pytest.mark.parametrize("name", list(NODE_TYPES))
def test_a_type_that_drops_candidates_without_a_reason_fails_at_import(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = registry.import_module(f"archon.graph.nodes.{name}")
    monkeypatch.setattr(module, "NODE_TYPE", replace(module.NODE_TYPE, explain=None))
    if module.NODE_TYPE.effects.drops:
        with pytest.raises(TypeError, match=name):
            dict(registry._declared())
    else:
        assert name in dict(registry._declared())
