"""All errors of an architecture are reported together: of schema, graph and referenced files."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import archon
from archon import api
from archon.cli.main import main
from archon.errors import FileError, GraphError, SpecError

MODEL = {"name": "double", "backend": "scripted"}


def architecture(nodes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    whole = {"version": 1, "name": "x", "models": {"solver": MODEL}, "nodes": nodes}
    return {**whole, "output": "answer", **changes}


def errors_of(ref: Any) -> list[FileError]:
    with pytest.raises(FileError) as caught:
        archon.load(ref)
    return list(caught.value.errors)


def places(errors: list[FileError]) -> list[tuple[str | None, str]]:
    """JSON path, and the rule of a graph error or "schema"."""
    return [(e.path, getattr(e, "rule", None) or "schema") for e in errors]


DRAFT = {"type": "generator", "model": "solver"}
VOTE = {"type": "vote", "inputs": ["draft"]}


def test_errors_of_schema_and_graph_are_reported_together() -> None:
    nodes = {
        "draft": {**DRAFT, "sampels": 4, "sampling": {"temprature": 1}},
        "notes": {"type": "critic", "model": "jduge", "inputs": ["drft"]},
        "a": {**DRAFT, "inputs": ["b"], "prompt": {"text": "nothing"}},
        "b": {**DRAFT, "inputs": ["a"], "prompt": {"template": "nope"}},
        "answer": {"type": "vote", "inputs": ["draft", "draft", "notes", "b"], "wieght": "count"},
    }
    errors = errors_of(architecture(nodes, output="anser", budget={"max_tokens": 0}))
    assert places(errors) == [
        ("$.nodes.draft.sampels", "schema"),
        ("$.nodes.draft.sampling.temprature", "schema"),
        ("$.nodes.answer.wieght", "schema"),
        ("$.budget.max_tokens", "schema"),
        ("$.nodes.notes.inputs[0]", "inputs_exist"),
        ("$.nodes.answer.inputs[1]", "no_duplicate_input"),
        ("$.nodes.a.inputs[0]", "no_cycle"),
        ("$.output", "output_exists"),
        ("$.nodes.notes.model", "model_exists"),
        ("$.nodes.b.prompt.template", "template_exists"),
        ("$.nodes.a.prompt.text", "prompt_fields"),
    ]


def test_every_violated_rule_of_a_graph_is_reported() -> None:
    nodes = {
        "draft": DRAFT,
        "idle": DRAFT,
        "best": {"type": "ranker", "model": "solver", "inputs": ["draft"], "use_critiques": True},
        "check": {"type": "verifier", "inputs": ["best"]},
        "answer": {"type": "vote", "inputs": ["check", "draft"], "weight": "score"},
    }
    errors = errors_of(architecture(nodes))
    assert all(isinstance(error, GraphError) for error in errors)
    assert places(errors) == [
        ("$.nodes.idle", "reaches_output"),
        ("$.nodes.check.model", "model_given"),
        ("$.nodes.best.use_critiques", "critiques_exist"),
        ("$.nodes.answer.inputs[1]", "scores_exist"),
    ]


def test_every_cycle_is_reported() -> None:
    nodes = {
        **{
            a: {**DRAFT, "inputs": [b]} for a, b in [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]
        },
        "e": {**DRAFT, "inputs": ["e"]},
        "answer": {"type": "vote", "inputs": ["a", "c", "e"]},
    }
    errors = errors_of(architecture(nodes))
    assert [(e.reason, e.path) for e in errors if getattr(e, "rule", "") == "no_cycle"] == [
        ("the nodes form a cycle: a → b → a", "$.nodes.a.inputs[0]"),
        ("the nodes form a cycle: c → d → c", "$.nodes.c.inputs[0]"),
    ]


@pytest.mark.parametrize(
    "nodes",
    [
        {"draft": {**DRAFT, "input": ["x"]}, "other": DRAFT, "answer": VOTE},
        {"draft": {**DRAFT, "inputs": "other"}, "other": DRAFT, "answer": VOTE},
        {"draft": DRAFT, "other": DRAFT, "answer": {"type": "vote", "input": ["draft", "other"]}},
        {"draft": DRAFT, "answer": {"typ": "vote", "inputs": ["draft"]}},
        {"draft": DRAFT, "answer": {"type": "vot", "inputs": ["draft"]}},
        {"draft": DRAFT, "answer": 5},
        {
            "draft": DRAFT,
            "notes": {"typ": "critic", "model": "solver", "inputs": ["draft"]},
            "answer": {"type": "fuser", "model": "solver", "inputs": ["notes"],
                       "use_critiques": True},
        },
        {"draft": {**DRAFT, "model": 5}, "answer": VOTE},
        {"1st": DRAFT, "answer": {"type": "vote", "inputs": ["1st"]}},
    ],
)  # fmt: skip
def test_consequences_of_a_schema_error_are_not_reported(
    nodes: dict[str, Any],
) -> None:
    assert {rule for _, rule in places(errors_of(architecture(nodes)))} == {"schema"}


@pytest.mark.parametrize("changes", [{"models": 5}, {"models": {"solver": {}}}])
def test_roles_of_invalid_models_are_not_missing(changes: dict[str, Any]) -> None:
    errors = errors_of(architecture({"draft": DRAFT, "answer": VOTE}, **changes))
    assert {rule for _, rule in places(errors)} == {"schema"}
    data = architecture({"draft": DRAFT, "answer": VOTE})
    data["modles"] = data.pop("models")
    assert places(errors_of(data)) == [("$.modles", "schema")]


NAMES = st.sampled_from(["a", "b", "c", "d", "lost"])
NODES = st.one_of(
    st.fixed_dictionaries({"type": st.just("generator"), "model": st.sampled_from(["solver", "x"])},
                          optional={"inputs": st.lists(NAMES, max_size=2)}),
    st.fixed_dictionaries({"type": st.sampled_from(["vote", "join"]),
                           "inputs": st.lists(NAMES, max_size=3)}),
    st.fixed_dictionaries({"type": st.sampled_from(["ranker", "fuser", "critic"]),
                           "model": st.sampled_from(["solver", "y"]),
                           "inputs": st.lists(NAMES, max_size=3)},
                          optional={"use_critiques": st.booleans()}),
)  # fmt: skip
GRAPHS = st.builds(
    lambda nodes, output: architecture(nodes, output=output),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), NODES, min_size=1),
    NAMES,
)


def found(data: dict[str, Any]) -> set[tuple[str | None, str]]:
    try:
        archon.load(data)
    except FileError as error:
        return set(places(list(error.errors)))
    return set()


@given(GRAPHS, st.data())
def test_a_schema_error_adds_no_graph_error(data: dict[str, Any], draw: st.DataObject) -> None:
    node = draw.draw(st.sampled_from(sorted(data["nodes"])))
    broken = copy.deepcopy(data)
    broken["nodes"][node]["strange"] = 1
    only_graph, both = found(data), found(broken)
    assert both - only_graph == {(f"$.nodes.{node}.strange", "schema")}
    names = ("inputs_exist", "no_self_input", "no_cycle", "output_exists", "model_exists")
    assert {one for one in only_graph if one[1] in names} <= both


# ------------------------------------------------------------------------- referenced files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, data: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(data), encoding="utf-8")


SINGLE = {"answer": DRAFT}


def test_a_file_is_named_with_all_its_references(folder: Path) -> None:
    write("a.json", architecture(SINGLE, models={"solver": {"architecture": "./sub/b.json"}}))
    write("sub/b.json", architecture(SINGLE, models={"solver": "./card.json"}))
    write("sub/card.json", {"name": "c", "backend": "locl"})
    (error,) = errors_of("./a.json")
    assert str(error).startswith(
        "./card.json (referenced by ./sub/b.json, $.models.solver, referenced by ./a.json, "
        "$.models.solver.architecture): $.backend: unknown backend 'locl'"
    )
    Path("sub/card.json").unlink()
    (error,) = errors_of("./a.json")
    assert str(error).endswith("$.models.solver.architecture): no such file")
    Path("sub/b.json").write_text("{", encoding="utf-8")
    (error,) = errors_of("./a.json")
    assert str(error).startswith(
        "./sub/b.json (referenced by ./a.json, $.models.solver.architecture): invalid JSON"
    )


def test_every_invalid_file_is_reported(folder: Path) -> None:
    pool = {"prompt": {"template": "cot", "shots": 1, "examples": "./pool.json"}}
    nodes = {"draft": {**DRAFT, **pool}, "answer": {"type": "vote", "inputs": ["draft", "lost"]}}
    models = {"solver": "./none.json", "judge": "no-such-card", "third": {"architecture": "b.json"}}
    write("a.json", architecture(nodes, models=models))
    write("b.json", architecture({"answer": {**DRAFT, "inputs": ["lost"]}}))
    errors = errors_of("./a.json")
    assert [(e.file, e.path) for e in errors] == [
        ("./none.json", None),
        ("./a.json", "$.models.judge"),
        ("b.json", "$.nodes.answer.inputs[0]"),
        ("./a.json", "$.nodes.answer.inputs[1]"),
        ("./pool.json", None),
    ]
    assert errors[4].references == (("./a.json", "$.nodes.draft.prompt.examples"),)
    assert errors[2].references == (("./a.json", "$.models.third.architecture"),)


def test_an_error_in_a_benchmark_s_data_names_its_card(folder: Path) -> None:
    card = {"version": 1, "name": "b", "source": {"jsonl": "./rows.jsonl"}}
    write("bench.json", card)
    with pytest.raises(SpecError, match=r"rows\.jsonl \(referenced by \./bench\.json, \$\.source"):
        api.benchmark("./bench.json")
    Path("rows.jsonl").write_text('{"question": 1\n', encoding="utf-8")
    with pytest.raises(SpecError, match=r"rows\.jsonl:1 \(referenced by \./bench\.json, \$\.sourc"):
        api.benchmark("./bench.json")
    write("bench.json", {**card, "examples": "./pool.json"})
    with pytest.raises(SpecError, match=r"pool\.json \(referenced by \./bench\.json, \$\.examples"):
        api.benchmark("./bench.json")


def test_a_missing_adapter_is_an_error_that_names_card_and_architecture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {"path": "none.gguf"}
    write("card.json", {"name": "c", "backend": "local", "sources": [source]})
    write("a.json", architecture(SINGLE, models={"solver": "./card.json"}))
    assert main(["run", "./a.json", "What is 2 + 3?"]) == 1
    told = capsys.readouterr().err
    assert (
        "./card.json (referenced by ./a.json, $.models.solver): no source of the model card 'c'"
        in told
    )


def test_validate_reports_all_errors_of_all_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a.json", architecture({**SINGLE, "idle": {**DRAFT, "sampels": 1}}, output="anser"))
    write("b.json", {"name": "c", "backend": "locl"})
    write("c.json", architecture(SINGLE))
    assert main(["validate", "a.json", "b.json", "c.json", "d.json", "--json"]) == 2
    out, err = capsys.readouterr()
    rows = json.loads(out)["files"]
    assert [row["valid"] for row in rows] == [False, False, True, False]
    assert [(e["file"], e["path"]) for e in rows[0]["errors"]] == [
        ("a.json", "$.nodes.idle.sampels"),
        ("a.json", "$.output"),
    ]
    assert rows[1]["errors"][0]["path"] == "$.backend"
    assert rows[2]["errors"] == []
    assert rows[3]["errors"][0]["message"] == "no such file"
    for text in ("sampels", "anser", "locl", "d.json: no such file"):
        assert text in err


def test_every_error_of_a_space_is_reported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = {**DRAFT, "samples": {"$int": [4, 1]}, "sampling": {"temperature": {"$float": 3}}}
    write("space.json", architecture({"answer": draft}, name={"$choice": ["a", "b"]}))
    assert main(["validate", "space.json"]) == 2
    told = capsys.readouterr().err
    for path in ("$.name", "$.nodes.answer.samples", "$.nodes.answer.sampling.temperature"):
        assert path in told
    draft = {**DRAFT, "samples": {"$choice": [1, 2], "$name": "k"}}
    forbidden = [{"k": 3}, {"j": 1}]
    write("space.json", architecture({"answer": draft}, **{"$forbid": forbidden}))
    assert main(["validate", "space.json"]) == 2
    told = capsys.readouterr().err
    assert '$["$forbid"][0].k' in told
    assert '$["$forbid"][1].j' in told
