from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from archon import api
from archon.errors import SpecError
from archon.spec import catalog
from archon.spec.reader import kind_of, load_space, schema
from archon.spec.space import parse_space
from archon.spec.strict_json import read_json
from archon.study.space import RejectedError, Space, check

DRAFT = {"type": "generator", "model": "solver"}


def make_space(nodes: Any, output: str = "answer", **more: Any) -> Space:
    data = {"version": 1, "name": "made", "models": {"solver": "scripted"}, "nodes": nodes}
    return Space(parse_space({**data, "output": output, **more}))


def voting(samples: Any, **more: Any) -> Space:
    return make_space(
        {
            "draft": {**DRAFT, "samples": samples},
            "answer": {"type": "vote", "inputs": ["draft"]},
        },
        **more,
    )


def refusal(space: Any) -> SpecError:
    with pytest.raises(SpecError) as caught:
        parse_space(space, "space.json") if isinstance(space, dict) else space()
    return caught.value


# ---------------------------------------------------------------------------------------- holes


def test_each_kind_of_hole_is_filled() -> None:
    space = make_space(
        {
            "draft": {
                **DRAFT,
                "samples": {"$int": [1, 16], "$log": True},
                "sampling": {"temperature": {"$float": [0.2, 1.2]}},
                "prompt": {"template": {"$choice": ["cot", "concise"]}},
            }
        },
        "draft",
    )
    point = {
        "nodes.draft.samples": 5,
        "nodes.draft.sampling.temperature": 0.7,
        "nodes.draft.prompt.template": '"concise"',
    }
    draft: Any = space.build(point).nodes["draft"]
    assert (draft.samples, draft.sampling.temperature) == (5, 0.7)
    assert draft.prompt.template == "concise"
    assert not space.is_enumerable
    assert space.count() is None
    assert set(space.random_point(random.Random(0))) == set(point)


def test_a_hole_inside_an_alternative_exists_only_if_it_is_chosen() -> None:
    fuser = {"type": "fuser", "model": "solver", "inputs": ["draft"], "samples": {"$int": [1, 3]}}
    space = make_space(
        {
            "draft": {**DRAFT, "samples": 4},
            "merged": {"$choice": [None, fuser]},
            "answer": {"type": "vote", "inputs": ["merged"]},
        }
    )
    points = list(space.points())
    inner = "nodes.merged[1].samples"
    assert [point.get(inner) for point in points] == [None, 1, 2, 3]
    without, with_two = space.build(points[0]), space.build(points[2])
    assert without.nodes["answer"].inputs == ["draft"]
    assert "merged" not in without.nodes
    assert with_two.nodes["merged"].samples == 2  # type: ignore[union-attr]


def test_holes_of_one_name_share_the_choice_and_may_differ_in_content() -> None:
    space = make_space(
        {
            "a": {**DRAFT, "samples": {"$choice": [1, 2], "$name": "size"}},
            "b": {**DRAFT, "samples": {"$choice": {"1": 5, "2": 6}, "$name": "size"}},
            "answer": {"type": "vote", "inputs": ["a", "b"]},
        }
    )
    built = [space.build(point).nodes for point in space.points()]
    assert [(n["a"].samples, n["b"].samples) for n in built] == [(1, 5), (2, 6)]  # type: ignore[union-attr]


def test_an_unused_node_is_removed() -> None:
    inputs = {"$choice": {"one": ["a"], "both": ["a", "b"]}, "$name": "drafts"}
    space = make_space({"a": DRAFT, "b": DRAFT, "answer": {"type": "vote", "inputs": inputs}})
    assert [list(space.build(point).nodes) for point in space.points()] == [
        ["a", "answer"],
        ["a", "b", "answer"],
    ]


def test_a_bypassed_output_becomes_its_input() -> None:
    vote = {"type": "vote", "inputs": ["draft"]}
    space = make_space({"draft": DRAFT, "answer": {"$choice": [vote, None]}})
    assert [space.build(point).output for point in space.points()] == ["answer", "draft"]


def test_omitting_a_needed_node_rejects_the_point() -> None:
    critic = {"type": "critic", "model": "solver", "inputs": ["draft"]}
    best = {"type": "ranker", "model": "solver", "inputs": ["notes"], "use_critiques": True}
    space = make_space(
        {"draft": {**DRAFT, "samples": 2}, "notes": {"$choice": [critic, None]}, "best": best},
        "best",
    )
    first, second = space.points()
    space.build(first)
    with pytest.raises(RejectedError, match="without 'notes': no critic's critiques"):
        space.build(second)


# ---------------------------------------------------------------------------------- constraints


@pytest.mark.parametrize(
    ("forbidden", "left"),
    [
        ({"k": 1}, [2, 4, 8]),
        ({"k": [1, 8]}, [2, 4]),
        ({"k": {"not": 4}}, [4]),
        ({"k": {"not": [4, 8]}}, [4, 8]),
        ({"k": {"above": 2}}, [1, 2]),
        ({"k": {"below": "k"}}, [1, 2, 4, 8]),
        ({"k": {"above": 1}, "gone": 1}, [1, 2, 4, 8]),
    ],
)
def test_a_constraint_removes_points_that_match_all_its_clauses(forbidden: Any, left: Any) -> None:
    other = {"type": "ranker", "model": "solver", "keep": {"$int": [1, 1], "$name": "gone"}}
    judge = {"$choice": [None, {**other, "inputs": ["draft"]}], "$name": "judge"}
    space = make_space(
        {
            "draft": {**DRAFT, "samples": {"$choice": [1, 2, 4, 8], "$name": "k"}},
            "judge": judge,
            "answer": {"type": "vote", "inputs": ["judge"]},
        },
        **{"$forbid": [forbidden, {"judge": {"not": None}}]},
    )
    assert [int(point["k"]) for point in space.points()] == left


def test_a_forbidden_point_is_refused_with_its_constraint() -> None:
    space = voting(
        {"$choice": [1, 2, 4], "$name": "k"}, **{"$forbid": [{"k": 1}, {"k": {"above": 2}}]}
    )
    with pytest.raises(RejectedError, match=r"\$\[\"\$forbid\"\]\[1\]: forbids this point"):
        space.build({"k": "4"})


def test_a_clause_may_compare_two_holes() -> None:
    best = {"type": "ranker", "model": "solver", "inputs": ["draft"]}
    space = make_space(
        {
            "draft": {**DRAFT, "samples": {"$int": [1, 3], "$name": "samples"}},
            "answer": {**best, "keep": {"$int": [1, 3], "$name": "keep"}},
        },
        **{"$forbid": [{"keep": {"above": "samples"}}]},
    )
    pairs = [(point["samples"], point["keep"]) for point in space.points()]
    assert pairs == [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)]


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("samples", "path", "reason"),
    [
        ({"$choice": []}, '$.nodes.draft.samples["$choice"]', "nonempty"),
        ({"$choice": 3}, '$.nodes.draft.samples["$choice"]', "must be a nonempty list"),
        ({"$choice": [1, 1]}, '$.nodes.draft.samples["$choice"][1]', "is repeated"),
        ({"$int": [1, 2.5]}, '$.nodes.draft.samples["$int"]', "two integers"),
        ({"$int": [3, 1]}, '$.nodes.draft.samples["$int"]', "must not exceed the second"),
        ({"$int": [0, 4], "$log": True}, '$.nodes.draft.samples["$int"]', "must begin above 0"),
        ({"$int": [1, 4], "$lgo": True}, '$.nodes.draft.samples["$lgo"]', "did you mean '$log'"),
        ({"$choice": [1], "$log": True}, '$.nodes.draft.samples["$log"]', "unknown key '$log' in"),
        ({"$int": [1, 4], "$name": 3}, '$.nodes.draft.samples["$name"]', "must be a string"),
        ({"$int": [0, 10**9]}, '$.nodes.draft.samples["$int"]', "more than 10000"),
    ],
)
def test_a_wrong_hole_is_reported_with_its_location(samples: Any, path: str, reason: str) -> None:
    error = refusal(lambda: voting(samples))
    assert error.path == path
    assert reason in error.reason


@pytest.mark.parametrize(
    ("forbid", "path", "reason"),
    [
        (3, '$["$forbid"]', "must be a list"),
        ([{}], '$["$forbid"][0]', "nonempty"),
        ([{"kk": 1}], '$["$forbid"][0].kk', "did you mean 'k'"),
        ([{"k": 3}], '$["$forbid"][0].k', "no alternative 3"),
        ([{"k": {"over": 3}}], '$["$forbid"][0].k', "one of the keys"),
        ([{"k": {"above": "j"}}], '$["$forbid"][0].k.above', "the name of a hole"),
    ],
)
def test_a_wrong_constraint_is_reported_with_its_location(
    forbid: Any, path: str, reason: str
) -> None:
    error = refusal(lambda: voting({"$choice": [1, 2], "$name": "k"}, **{"$forbid": forbid}))
    assert error.path == path
    assert reason in error.reason


def test_two_choices_of_one_name_are_refused() -> None:
    nodes = {
        "a": {**DRAFT, "samples": {"$int": [1, 2], "$name": "k"}},
        "b": {**DRAFT, "samples": {"$int": [1, 3], "$name": "k"}},
        "answer": {"type": "vote", "inputs": ["a", "b"]},
    }
    error = refusal(lambda: make_space(nodes))
    assert error.path == "$.nodes.b.samples"
    assert "$.nodes.a.samples" in error.reason


def test_a_file_without_holes_is_not_a_space() -> None:
    with pytest.raises(SpecError, match=r"self-consistency\.json: has no holes"):
        load_space(str(catalog.find("architecture", "self-consistency")))


# ---------------------------------------------------------------------------------------- checks


def test_an_invalid_point_is_reported_before_the_first_trial() -> None:
    space = voting({"$choice": [1, 0]})
    with pytest.raises(SpecError, match=r"nodes.draft.samples: must be greater.*\n.*samples = 0"):
        api.check_space(space)


def test_an_invalid_graph_is_reported_with_its_point() -> None:
    space = make_space(
        {"draft": DRAFT, "answer": {"type": "vote", "inputs": {"$choice": [["draft"], ["drat"]]}}}
    )
    with pytest.raises(
        SpecError, match=r"no node 'drat'.*\n  at the point nodes.answer.inputs = 1"
    ):
        api.check_space(space)


def test_a_space_without_allowed_points_is_reported() -> None:
    nodes = {"draft": {**DRAFT, "samples": {"$choice": [1, 2], "$name": "n"}}}
    space = make_space(nodes, "draft", **{"$forbid": [{"n": 1}, {"n": 2}]})
    with pytest.raises(SpecError, match=r"\$forbid forbids every point of the space"):
        api.check_space(space)


def test_a_node_that_is_unused_at_every_point_is_reported() -> None:
    space = make_space({"draft": {**DRAFT, "samples": {"$int": [1, 2]}}, "idle": DRAFT}, "draft")
    with pytest.raises(SpecError, match="at no point of the space does the node 'idle'"):
        api.check_space(space)


# ----------------------------------------------------------------------------------- what ships


def test_the_space_of_the_paper_has_its_9576_points() -> None:
    # Pairs of models (1 to 10) and samples (1 to 5) with at most 24 drafts; one layer of fusion, or
    # two to four of 2 to 10 fusers; three ways to rank, three to check.
    pairs = sum(m * s <= 24 for m in range(1, 11) for s in range(1, 6))
    assert pairs * (1 + 3 * 9) * 3 * 3 == 9576
    assert Space.load("paper").count() == 9576


def test_the_space_of_the_paper_reaches_the_figure() -> None:
    space = Space.load("paper")
    choices = {"samples": 1, "models": "10", "ranking": "critic and ranker", "fusers": "6"}
    point = space.choose(lambda hole: {**choices, "layers": "2", "check": "none"}[hole.name])
    types = [node.type for node in space.build(point).nodes.values()]
    assert types.count("generator") == 10
    assert types.count("fuser") == 7
    assert types.count("critic") == types.count("ranker") == 2


@pytest.mark.parametrize("name", catalog.names("space"))
def test_every_shipped_space_is_valid(name: str) -> None:
    space = Space.load(name)
    found = api.check_space(space)
    assert found.num_valid > 500
    assert all(why.startswith("$forbid") for why in found.rejected)
    assert kind_of(read_json(catalog.find("space", name))) == "space"


def test_the_small_space_suits_a_small_model() -> None:
    space = Space.load("small")
    holes = {hole.name: hole for hole in space.spec.all_holes()}
    for name in ("template", "temperature", "samples", "shots", "judge"):
        assert len(holes[name].alternatives) >= 3
    assert set(holes["form"].alternatives) == {"prose", "program", "both"}
    assert {"fuser", "choice"} <= set(holes)


def test_all_points_are_counted_one_by_one() -> None:
    space = Space.load("small")
    points = [tuple(point.items()) for point in space.points()]
    assert len(points) == len(set(points)) == space.count()
    found = check(space, lambda spec: None)
    assert found.num_points == len(points)


def test_the_schema_of_a_space_has_holes() -> None:
    told = schema("space")
    assert "Hole" in told["$defs"]
    assert "$forbid" in told["properties"]
    json.dumps(told)
    samples = told["$defs"]["GeneratorNode"]["properties"]["samples"]
    assert {"$ref": "#/$defs/Hole"} in samples["anyOf"]


def test_paths_in_a_space_start_at_its_file(tmp_path: Path) -> None:
    card = {"version": 1, "name": "own", "backend": "scripted"}
    (tmp_path / "own.json").write_text(json.dumps(card))
    data = {
        "version": 1,
        "name": "made",
        "models": {"solver": "./own.json"},
        "nodes": {"draft": {**DRAFT, "samples": {"$int": [1, 2]}}},
        "output": "draft",
    }
    (tmp_path / "space.json").write_text(json.dumps(data))
    assert api.check_space(Space.load(tmp_path / "space.json")).num_valid == 2
