"""Scaling curves: figures against all subsets, the power law, and the plot."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.etree import ElementTree

import pytest
from eval_doubles import make_record

from archon.evals.pass_at_k import DrawSet
from archon.evals.records import Draw, Record
from archon.evals.scaling.curves import CSV_COLUMNS, csv_rows
from archon.evals.scaling.draw_png import can_draw_png, draw_png
from archon.evals.scaling.draw_svg import draw_svg
from archon.evals.scaling.power_law import PowerLaw, fit
from archon.evals.scaling.sample_curve import SampleCurve, pass_of_each, votes_of_each
from archon.evals.scaling.scaled_specs import PooledVote, plain_votes, scaled
from archon.spec.architecture import ArchitectureSpec
from archon.spec.reader import load_architecture
from archon.types import Usage


def draws(values: str) -> list[Draw]:
    """Samples from their values: a right one is "x", and one without a value is "."."""
    return [Draw(None if value == "." else value, int(value == "x")) for value in values]


def record(item: str, *, completion: int = 80, prompts: int = 20, **nodes: str) -> Record:
    """A record of an answer from samples with these values."""
    return replace(
        make_record(item, 0),
        draws={name: tuple(draws(values)) for name, values in nodes.items()},
        usage=Usage(prompt_tokens=prompts, completion_tokens=completion, calls=1),
        cost_tokens=completion + prompts,
    )


def shipped(name: str) -> ArchitectureSpec:
    return load_architecture(name).spec


class TestArchitectures:
    @pytest.mark.parametrize(
        ("name", "generators"),
        [
            ("self-consistency", ("draft",)),
            ("program-and-prose", ("code", "prose")),
            ("rank-fuse", None),
            ("adaptive-self-consistency", None),
            ("weighted-vote", None),
            ("single", None),
        ],
    )
    def test_votes_over_samples_are_recognized(
        self, name: str, generators: tuple[str, ...] | None
    ) -> None:
        vote = PooledVote.of(shipped(name))
        assert (vote and vote.generators) == generators

    def test_only_generators_that_read_the_question_are_scaled(self) -> None:
        spec = scaled(shipped("rank-fuse"), 3)
        samples = {name: getattr(node, "samples", None) for name, node in spec.nodes.items()}
        assert samples["draft"] == 3
        assert samples["merged"] == getattr(shipped("rank-fuse").nodes["merged"], "samples", None)

    def test_a_plain_vote_keeps_the_generator_and_its_programs(self) -> None:
        votes = plain_votes(shipped("program-and-prose"))
        assert [list(vote.nodes) for vote in votes] == [["code", "ran", "vote"], ["prose", "vote"]]
        assert all(PooledVote.of(vote) for vote in votes)
        spec = shipped("rank-fuse")
        [vote] = plain_votes(spec)
        assert vote.nodes["draft"] == spec.nodes["draft"]  # so that the samples are shared


class TestFigures:
    def test_pass_at_k_of_several_generators_is_the_mean_over_all_subsets(self) -> None:
        groups = [draws("xaab"), draws("ax.")]
        sets = [DrawSet.of(group) for group in groups]
        for k in (1, 2, 3):
            chosen = product(*(combinations(group, k) for group in groups))
            hits = [any(d.is_right for part in parts for d in part) for parts in chosen]
            assert pass_of_each(sets, k) == pytest.approx(fmean(hits))

    def test_votes_of_several_generators_estimate_the_mean_over_all_subsets(self) -> None:
        groups = [draws("xab.xa"), draws("axxb.b")]
        every = DrawSet.of([*groups[0], *groups[1]])
        exact = []
        for k in range(1, 7):
            places = [combinations(range(6), k), combinations(range(6, 12), k)]
            subsets = [sorted(a + b) for a, b in product(*map(list, places))]
            chosen = [DrawSet.of([[*groups[0], *groups[1]][i] for i in own]) for own in subsets]
            exact.append(fmean(own.votes_at([2 * k])[0] for own in chosen))
        found = votes_of_each(every, [6, 6], range(1, 7))
        assert found == pytest.approx(exact, abs=0.13)  # 100 subsets: two and a half deviations
        assert found[-1] == exact[-1]

    def test_a_run_gives_every_point(self) -> None:
        records = [
            record("1", code="xa", prose="xb"),
            record("2", code="aa", prose="a."),
            replace(make_record("3", 0, error="no"), draws={}),
        ]
        [one, two] = SampleCurve(["code", "prose"], [1, 2, 4]).add(records).points
        assert (one.k, two.k) == (1, 2)
        assert two.accuracy == pytest.approx(1 / 3)
        assert two.passed == pytest.approx(1 / 3)
        assert one.passed == pytest.approx((1 - 1 / 4) / 3)
        assert (one.tokens, two.tokens) == (20 + 40, 20 + 80)
        assert two.interval[0] < two.accuracy < two.interval[1]


def passes_of_law(a: float, b: float, ks: list[int]) -> list[list[float]]:
    """Items whose mean pass@k follows the law exactly."""
    rng = random.Random(0)
    rows = []
    for _ in range(100):
        shift = rng.uniform(-0.1, 0.1)
        rows += [[math.exp(a * k**b) + sign * shift for k in ks] for sign in (1, -1)]
    return rows


class TestPowerLaw:
    def test_the_law_is_found_again(self) -> None:
        ks = [1, 2, 4, 8, 16]
        law = fit(ks, passes_of_law(-1.6, -0.35, ks))
        assert isinstance(law, PowerLaw)
        assert (law.a, law.b) == (pytest.approx(-1.6, abs=1e-3), pytest.approx(-0.35, abs=1e-3))
        assert law.b_interval[0] <= law.b <= law.b_interval[1]
        assert law.largest_error < 1e-6
        for each in law.extrapolated:
            assert each.passed == pytest.approx(math.exp(-1.6 * each.k**-0.35), abs=1e-4)
            assert each.interval[0] < each.passed < each.interval[1]
        assert [each.k for each in law.extrapolated] == [32, 64, 128]

    @pytest.mark.parametrize(
        ("ks", "passes", "reason"),
        [
            ([1, 2], [[0.1, 0.2]] * 9, "at least 3 numbers"),
            ([1, 2, 4], [[0.1, 0.2, 0.3]] * 4, "at least 5 items"),
            ([1, 2, 4], [[0.0, 0.0, 0.0]] * 9, "determines no power law"),
            ([1, 2, 4], [[1.0, 1.0, 1.0]] * 9, "determines no power law"),
            ([1, 2, 4, 8, 16], [[0.4, 0.55, 0.62, 0.62, 0.62]] * 9, "does not follow"),
        ],
    )
    def test_data_that_follow_no_law_get_a_reason(
        self, ks: list[int], passes: list[list[float]], reason: str
    ) -> None:
        law = fit(ks, passes)
        assert isinstance(law, str)
        assert reason in law


def plot_data(name: str) -> dict[str, Any]:
    points = [
        {"k": k, "accuracy": 0.4 + k / 40, "accuracy_interval": (0.3, 0.7), "tokens": 50.0 * k}
        | {"seconds": None, "pass": 0.5 + k / 40, "pass_interval": (0.4, 0.8)}
        for k in (1, 2, 4)
    ]
    law = {"a": -0.7, "b": -0.2, "extrapolated": [{"k": 8, "passed": 0.7, "interval": (0.5, 0.8)}]}
    curve = {"name": name, "points": points, "power_law": law}
    return {"curves": [curve, {**curve, "name": "other", "points": [], "power_law": None}]}


class TestPlot:
    def test_the_svg_shows_lines_bands_and_the_extrapolation(self) -> None:
        text = draw_svg("Scaling <x>", plot_data("</svg><script>"))
        root = ElementTree.fromstring(text)
        assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}
        classes = [element.get("class", "") for element in root.iter()]
        assert sum(kind.startswith("band") for kind in classes) == 3  # accuracy, pass@k, predicted
        assert sum("predicted" in kind for kind in classes) == 1
        titles = [element.text or "" for element in root.iter() if element.tag.endswith("title")]
        assert "k 8, predicted: 70.0% [50.0, 80.0]" in titles

    def test_the_table_has_a_row_for_each_point(self) -> None:
        rows = list(csv_rows(plot_data("a")))
        assert [row["k"] for row in rows] == [1, 2, 4, 8]
        assert [row["is_extrapolated"] for row in rows] == [0, 0, 0, 1]
        assert set().union(*rows) <= set(CSV_COLUMNS)

    @pytest.mark.skipif(not can_draw_png(), reason="matplotlib is not installed")
    def test_the_png_is_written(self, tmp_path: Path) -> None:
        draw_png("Scaling", plot_data("a"), tmp_path / "curve.png")
        assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
