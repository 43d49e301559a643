"""Layered files become valid graphs with the same meaning."""

from __future__ import annotations

from typing import Any

import pytest
from layered_files import component, layered, needs_unit_tests

import archon
from archon.convert import Conversion, convert
from archon.convert.servers import SERVERS
from archon.errors import SpecError


def converted(*layers: Any) -> dict[str, Any]:
    """The nodes of an architecture that validates."""
    architecture = convert(layered(*layers)).architecture
    archon.load(architecture)
    nodes: dict[str, Any] = architecture["nodes"]
    return nodes


def lost(conversion: Conversion) -> dict[str, str]:
    return {loss.to_json()["path"]: loss.reason for loss in conversion.losses}


def broken(conversion: Conversion) -> list[str]:
    return [remark.rule for remark in conversion.remarks]


# ----------------------------------------------------------------------------------------- nodes


def test_a_component_reads_all_candidates_of_the_previous_layer() -> None:
    nodes = converted(
        [component("generator"), component("generator", "other")],
        [component("fuser"), component("fuser", "other"), component("fuser")],
        [component("fuser")],
    )
    drafts = ["generator_1_1", "generator_1_2"]
    fusers = ["fuser_2_1", "fuser_2_2", "fuser_2_3"]
    assert all(nodes[fuser]["inputs"] == drafts for fuser in fusers)
    assert nodes["fuser_3"]["inputs"] == fusers


def test_every_key_with_a_place_in_the_format_is_carried_there() -> None:
    nodes = converted(
        [component("generator", samples=8, temperature=1, max_tokens=99)],
        [component("critic")],
        [component("ranker", top_k=5, use_critiques=True)],
        [component("verifier", first_k=2)],
        [component("fuser", samples=3, use_critiques=False)],
    )
    assert nodes["generator_1"]["samples"] == 8
    assert nodes["generator_1"]["sampling"] == {"temperature": 1, "max_tokens": 99}
    assert nodes["ranker_3"]["keep"] == 5
    assert nodes["ranker_3"]["use_critiques"] is True
    assert nodes["verifier_4"]["keep_first"] == 2
    assert nodes["fuser_5"]["samples"] == 3
    assert nodes["fuser_5"]["use_critiques"] is False


def test_a_clean_file_loses_nothing_and_breaks_no_rule() -> None:
    conversion = convert(
        layered(
            [component("generator", samples=10)],
            [component("critic", samples=1)],
            [component("ranker", top_k=5, use_critiques=True)],
            [component("fuser", samples=1, length_control=False, no_system=False)],
        )
    )
    assert not conversion.losses
    assert not conversion.remarks


def test_the_generator_sends_the_question_alone_as_the_original_does() -> None:
    assert converted([component("generator")])["generator_1"]["prompt"] == {"template": "bare"}


def test_length_control_becomes_an_instruction() -> None:
    nodes = converted([component("generator")], [component("fuser", length_control=True)])
    assert "longer" in nodes["fuser_2"]["prompt"]["system"]


def test_the_older_format_of_a_layer_is_read() -> None:
    new = layered([component("generator")], [component("fuser")])
    old = layered(*({"branches": 1, "models": layer} for layer in new["layers"]))
    assert convert(old) == convert(new)


def test_the_former_name_of_a_generator_is_read() -> None:
    assert converted([component("model")])["generator_1"]["type"] == "generator"


def test_several_last_components_meet_in_one_answer() -> None:
    conversion = convert(layered([component("generator"), component("generator")]))
    archon.load(conversion.architecture)
    assert conversion.architecture["output"] == "answer"
    assert broken(conversion) == ["one_answer"]


@pytest.mark.parametrize(
    ("last", "may_be_several"),
    [
        (component("ranker", top_k=1), False),
        (component("ranker", top_k=2), True),
        (component("verifier", first_k=1), False),
        (component("critic"), True),
        (component("fuser"), False),
        (component("fuser", samples=2), True),
    ],
)
def test_a_remark_reports_that_the_original_picks_the_answer_at_random(
    last: dict[str, Any], may_be_several: bool
) -> None:
    conversion = convert(layered([component("generator", samples=4)], [last]))
    assert ("one_answer" in broken(conversion)) is may_be_several


def test_wide_layers_meet_in_a_join() -> None:
    wide = [component("fuser") for _ in range(150)]
    nodes = converted([component("generator") for _ in range(150)], wide, [component("fuser")])
    assert nodes["fuser_2_1"]["inputs"] == ["join_2"]
    assert len(nodes["join_2"]["inputs"]) == 150


# ---------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("kind", SERVERS)
def test_every_kind_of_server_gets_a_card_inline(kind: str) -> None:
    architecture = convert(layered([component("generator", "a/b", model_type=kind)])).architecture
    archon.load(architecture)
    (card,) = architecture["models"].values()
    assert card["backend"] == "openai"
    assert card["base_urls"] == [SERVERS[kind].base_url]
    assert card.get("api_key_env") == SERVERS[kind].api_key_env


def test_each_pair_of_model_and_server_has_a_role() -> None:
    conversion = convert(
        layered(
            [
                component("generator", "org/big"),
                component("generator", "org/big"),
                component("generator", "other/big"),
                component("generator", "org/big", model_type="Groq_API"),
            ],
            [component("fuser", "org/big")],
        )
    )
    nodes = conversion.architecture["nodes"]
    assert list(conversion.architecture["models"]) == ["big", "big_2", "big_3"]
    assert [node.get("model") for node in nodes.values()] == ["big", "big", "big_2", "big_3", "big"]


def test_a_tgi_server_has_the_address_in_model() -> None:
    url = "http://10.0.0.1:8080/v1"
    conversion = convert(layered([component("generator", url, model_type="tgi")]))
    (card,) = conversion.architecture["models"].values()
    assert card["base_urls"] == [url]
    assert not conversion.losses


@pytest.mark.parametrize("kind", ["Bedrock_API", "OPENAI_API", "HuggingFace", "", 3, None])
def test_a_server_without_an_address_gets_a_placeholder_and_is_listed(kind: Any) -> None:
    conversion = convert(layered([component("generator", model_type=kind)]))
    archon.load(conversion.architecture)
    assert list(lost(conversion)) == ["$.layers[0][0].model_type"]


def test_a_component_without_a_model_keeps_its_place() -> None:
    draft = component("generator")
    draft["modle"] = draft.pop("model")
    conversion = convert(layered([draft]))
    archon.load(conversion.architecture)
    assert "did you mean 'model'" in lost(conversion)["$.layers[0][0].modle"]
    assert broken(conversion) == ["model_named"]


def test_the_pair_ranker_is_listed_because_it_is_not_a_chat_model() -> None:
    ranker = component("ranker", "llm-blender/PairRM", top_k=3, ranker_batch_size=16)
    ranker["model_type"] = ""
    conversion = convert(layered([component("generator", samples=5)], [ranker]))
    archon.load(conversion.architecture)
    assert conversion.architecture["nodes"]["ranker_2"]["method"] == "pairwise"
    assert set(lost(conversion)) == {"$.layers[1][0].model", "$.layers[1][0].ranker_batch_size"}


# --------------------------------------------------------------------------------- what is lost


@pytest.mark.parametrize(
    ("kind", "key", "value", "reason"),
    [
        ("generator", "tempreature", 0.5, "did you mean 'temperature'"),
        ("generator", "max_context_length", 2048, "unknown key"),
        ("generator", "top_k", 1, "does not read 'top_k'"),
        ("generator", "samples", 0, "greater than or equal to 1"),
        ("generator", "samples", "10", "integer"),
        ("generator", "samples", True, "integer"),
        ("generator", "temperature", "0.7", "number"),
        ("generator", "temperature", -1, "greater than or equal to 0"),
        ("generator", "max_tokens", 1.5, "integer"),
        ("generator", "max_tokens", [512], "integer"),
        ("generator", "no_system", True, "system message"),
        ("critic", "samples", 3, "only one reply"),
        ("critic", "use_critiques", True, "does not read 'use_critiques'"),
        ("ranker", "ranker_batch_size", 16, "batched"),
        ("ranker", "use_critiques", "yes", "boolean"),
        ("ranker", "use_critiques", True, "receives no critiques"),
        ("fuser", "use_critiques", True, "receives no critiques"),
        ("fuser", "length_control", "yes", "true or false"),
        ("fuser", "use_critique", True, "did you mean 'use_critiques'"),
        ("verifier", "batch_num", 2, "unknown key"),
        ("verifier", "top_k", 2, "does not read 'top_k'"),
    ],
)
def test_a_key_that_cannot_be_carried_is_listed_with_the_reason(
    kind: str, key: str, value: Any, reason: str
) -> None:
    first = [component("generator", samples=4)]
    layers = (
        ([component(kind, **{key: value})],)
        if kind == "generator"
        else (first, [component(kind, **{key: value})])
    )
    conversion = convert(layered(*layers))
    archon.load(conversion.architecture)
    path = f"$.layers[{len(layers) - 1}][0].{key}"
    assert list(lost(conversion)) == [path]
    assert reason in lost(conversion)[path]


def test_critiques_do_not_pass_a_fuser() -> None:
    conversion = convert(
        layered(
            [component("generator", samples=4)],
            [component("critic")],
            [component("fuser", samples=3, use_critiques=True)],
            [component("ranker", top_k=1, use_critiques=True)],
        )
    )
    archon.load(conversion.architecture)
    assert list(lost(conversion)) == ["$.layers[3][0].use_critiques"]
    assert broken(conversion) == ["critic_before_reader"]


@pytest.mark.parametrize(
    ("layer", "paths"),
    [
        ([], ["$.layers[1]"]),
        ("fuser", ["$.layers[1]"]),
        (None, ["$.layers[1]"]),
        ([[component("fuser")]], ["$.layers[1][0]"]),
        (["fuser"], ["$.layers[1][0]"]),
        ([{}], ["$.layers[1][0]"]),
        ([{"type": "fusre", "model": "m"}], ["$.layers[1][0].type", "$.layers[1][0].model"]),
        ([{"typ": "fuser"}], ["$.layers[1][0].typ"]),
        ({"branches": 2, "models": []}, ["$.layers[1].branches", "$.layers[1].models"]),
        ({"branch": 1, "models": [component("fuser")]}, ["$.layers[1].branch"]),
        ({"branches": 1}, ["$.layers[1].branches"]),
        ({"branches": 1, "models": {"a": 1}}, ["$.layers[1].models.a"]),
    ],
)
def test_an_unreadable_layer_is_listed(layer: Any, paths: list[str]) -> None:
    conversion = convert(layered([component("generator")], layer))
    archon.load(conversion.architecture)
    assert list(lost(conversion)) == paths


def test_unknown_keys_of_the_file_are_listed() -> None:
    data = {**layered([component("generator")]), "custom": True, "save_path": "x", "nmae": 1}
    assert list(lost(convert(data))) == ["$.custom", "$.save_path", "$.nmae"]


@pytest.mark.parametrize("name", [None, "", 3, ["a"]])
def test_a_file_without_a_usable_name_gets_the_default(name: Any) -> None:
    conversion = convert({"name": name, "layers": [[component("generator")]]}, default_name="file")
    assert conversion.architecture["name"] == "file"
    assert list(lost(conversion)) == ["$.name"]


def test_a_judge_before_any_generator_is_omitted_and_its_keys_are_listed() -> None:
    conversion = convert(layered([component("ranker", top_k=1)], [component("generator")]))
    archon.load(conversion.architecture)
    assert list(conversion.architecture["nodes"]) == ["generator_2"]
    assert all("no generator" in reason for reason in lost(conversion).values())
    assert len(conversion.losses) == len(component("ranker", top_k=1))


# -------------------------------------------------------------------------------- the paper's rules


@pytest.mark.parametrize(
    ("rule", "layers"),
    [
        ("one_type_a_layer", [[component("generator")], [component("fuser"), component("critic")]]),
        ("generators_first", [[component("generator")], [component("generator")]]),
        ("generators_first", [[component("critic")], [component("generator")]]),
        ("one_judge_a_layer", [[component("generator")], [component("ranker", top_k=1)] * 2]),
        ("critic_before_reader", [[component("generator")], [component("critic")]]),
        (
            "critic_before_reader",
            [[component("generator")], [component("fuser", use_critiques=True)]],
        ),
        (
            "test_generator_before_evaluator",
            [[component("unit_test_generator")], [component("generator")]],
        ),
        (
            "test_generator_before_evaluator",
            [[component("generator")], [component("unit_test_evaluator")]],
        ),
    ],
)
def test_a_broken_rule_of_the_paper_is_named(rule: str, layers: list[Any]) -> None:
    conversion = convert(layered(*layers))
    archon.load(conversion.architecture)
    assert rule in broken(conversion)


# ------------------------------------------------------------------------------------ unit tests


EVALUATOR = component("unit_test_evaluator", samples=1, remove_unit_tests_from_prompt=True)


@needs_unit_tests
@pytest.mark.parametrize("tests_first", [True, False])
def test_an_evaluator_reads_the_candidates_and_the_tests(tests_first: bool) -> None:
    opening = [[component("generator", samples=4)], [component("unit_test_generator")]]
    nodes = converted(*(reversed(opening) if tests_first else opening), [EVALUATOR])
    drafts, tests = ("generator_2", "unit_test_generator_1")
    if not tests_first:
        drafts, tests = ("generator_1", "unit_test_generator_2")
    assert nodes["unit_test_evaluator_3"]["inputs"] == [drafts, tests]
    assert "inputs" not in nodes[tests]
    assert "inputs" not in nodes[drafts]


@needs_unit_tests
def test_the_cap_of_tests_is_carried() -> None:
    writer = component("unit_test_generator", unit_test_cap=5)
    nodes = converted([component("generator")], [writer], [EVALUATOR])
    assert nodes["unit_test_generator_2"]["max_tests"] == 5


def test_the_newest_tests_are_evaluated_and_unread_ones_omitted() -> None:
    writer = component("unit_test_generator")
    conversion = convert(layered([component("generator")], [writer], [writer], [EVALUATOR]))
    nodes = conversion.architecture["nodes"]
    assert nodes["unit_test_evaluator_4"]["inputs"] == ["generator_1", "unit_test_generator_3"]
    assert {loss.path[:3] for loss in conversion.losses} == {("layers", 1, 0)}


@pytest.mark.parametrize(
    ("key", "value"),
    [("first_k", 3), ("first_pass", True), ("unit_test_cap", 5)],
)
def test_keys_of_an_evaluator_without_an_equivalent_are_listed(key: str, value: Any) -> None:
    evaluator = {**EVALUATOR, key: value}
    conversion = convert(
        layered([component("generator")], [component("unit_test_generator")], [evaluator])
    )
    assert list(lost(conversion)) == [f"$.layers[2][0].{key}"]


# ------------------------------------------------------------------------- what cannot be converted


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([], "must be an object"),
        ({}, "the file has no 'layers'"),
        ({"layer": []}, "did you mean 'layer'"),
        ({"nodes": {}}, "already an architecture file"),
        ({"layers": []}, "must contain at least one layer"),
        ({"layers": {}}, "must be a list"),
        ({"layers": [[]]}, "no readable generator"),
        ({"layers": [[component("fuser")]]}, "no readable generator"),
        ({"layers": [[component("generater")]]}, "did you mean 'generator'"),
    ],
)
def test_a_file_without_layers_or_generators_is_refused(data: Any, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        convert(data, "old.json")


# ---------------------------------------------------------------------------- one instead of a list


def test_a_component_instead_of_a_layer_is_a_list_of_one() -> None:
    generator, fuser = component("generator", samples=4), component("fuser")
    single = convert(layered(generator, fuser))
    assert single.architecture == convert(layered([generator], [fuser])).architecture
    assert not single.losses
    assert [(remark.rule, remark.path) for remark in single.remarks] == [
        ("list_of_one", ("layers", 0)),
        ("list_of_one", ("layers", 1)),
    ]


GENERATOR = component("generator")


@pytest.mark.parametrize(
    ("data", "rules"),
    [
        ({"layers": GENERATOR}, ["list_of_one", "list_of_one"]),
        ({"layers": {"branches": 1, "models": [GENERATOR]}}, ["list_of_one"]),
        ({"layers": [{"branches": 1, "models": GENERATOR}]}, ["list_of_one"]),
        ({"layers": [{"models": {**GENERATOR, "type": "model"}}]}, ["list_of_one"]),
        ([[GENERATOR]], ["no_file_object"]),
        ([GENERATOR], ["no_file_object", "list_of_one"]),
    ],
)
def test_single_values_instead_of_lists_elsewhere(data: Any, rules: list[str]) -> None:
    conversion = convert(data)
    expected = convert({"layers": [[GENERATOR]]}).architecture
    assert conversion.architecture["nodes"] == expected["nodes"]
    assert conversion.architecture["models"] == expected["models"]
    assert not conversion.losses
    assert broken(conversion) == rules


@pytest.mark.parametrize(
    "changes", [{"model": ["small"]}, {"models": "small"}, {"models": ["small"]}]
)
def test_one_model_may_be_a_list_or_be_called_models(changes: dict[str, Any]) -> None:
    generator = {key: value for key, value in GENERATOR.items() if key not in changes}
    if "models" in changes:
        del generator["model"]
    conversion = convert(layered([{**generator, **changes}]))
    assert conversion.architecture == convert(layered([GENERATOR])).architecture
    assert not conversion.losses
    assert broken(conversion) == ["model_named"]


def test_a_lost_key_is_listed_with_its_path() -> None:
    conversion = convert({"layers": {**GENERATOR, "tempreature": 1}})
    assert list(lost(conversion)) == ["$.layers.tempreature"]
