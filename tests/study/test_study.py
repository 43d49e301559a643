from __future__ import annotations

import asyncio
import statistics
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from study_doubles import (
    Landscape,
    accuracy,
    evaluations_until,
    hole,
    landscape,
    plan,
    search_result,
    searched,
    threshold,
    tokens,
)

from archon.errors import LMError
from archon.spec.space import parse_space
from archon.study.objectives import ItemResult, SearchLimits
from archon.study.space import Space
from archon.study.stopping import P_THRESHOLD, dominating, is_worse, p_greater, predicted, rungs
from archon.study.trial_evaluation import Measured, TrialCandidate
from archon.study.trials import StudyCost, TrialRecord, front

pytest.importorskip("optuna")


ONE = {"template": '"a"', "shots": "0", "temperature": "0.2", "samples": "1", "form": '"prose"'}


def results(*scores: float, cost: float = 10) -> list[ItemResult]:
    return [ItemResult(score, cost, 1.0) for score in scores]


# ------------------------------------------------------------------------------------- samplers


async def test_tpe_finds_the_top_percent_in_half_of_what_random_needs() -> None:
    space, seeds, most = landscape(), 7, 40
    bound = threshold(space)
    tried = [
        evaluations_until(await searched(plan(seed=seed, trials=most)), bound) or most + 1
        for seed in range(seeds)
    ]
    good = sum(accuracy(point) >= bound for point in space.points()) / (space.count() or 0)
    of_random = 0.69 / good  # the median of a geometric law
    assert statistics.median(tried) <= of_random / 2


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
async def test_every_sampler_searches_and_is_reproducible(sampler: str) -> None:
    made = plan(sampler=sampler, trials=14, limits=SearchLimits(tokens=400))
    first, second = [await searched(made) for _ in range(2)]
    assert [r.point for r in first] == [r.point for r in second]
    assert sum(r.outcome == "whole" for r in first) == 14
    other = await searched(
        plan(sampler=sampler, trials=14, seed=1, limits=SearchLimits(tokens=400))
    )
    assert [r.point for r in first] != [r.point for r in other]


async def test_a_gaussian_process_searches() -> None:
    pytest.importorskip("torch")
    made = plan(sampler="gp", trials=12, limits=SearchLimits(tokens=700))
    records = await searched(made, space=landscape(with_branch=False))
    assert sum(record.outcome == "whole" for record in records) == 12


async def test_exhaustive_search_tries_every_configuration_once() -> None:
    nodes = {"template": hole("template", "a", "b"), "shots": hole("shots", 0, 4)}
    rest = {"temperature": hole("temperature", 0.2), "samples": hole("samples", 1, 2)}
    data = {"version": 1, "name": "few", "nodes": {**nodes, **rest, "form": hole("form", "prose")}}
    space = Space(parse_space(data))
    made = plan(sampler="exhaustive", trials=100)
    records, reason = await search_result(made, space=space)
    assert reason == "all 8 configurations of the space were tried"
    assert len(records) == 8
    assert len({record.digest for record in records}) == 8


async def test_a_search_ends_when_every_configuration_was_tried() -> None:
    nodes = {"template": hole("template", "a", "b"), "shots": hole("shots", 0)}
    rest = {"temperature": hole("temperature", 0.2), "samples": hole("samples", 1)}
    data = {"version": 1, "name": "few", "nodes": {**nodes, **rest, "form": hole("form", "prose")}}
    made = plan(sampler="random", trials=5)
    records, reason = await search_result(made, space=Space(parse_space(data)))
    outcomes = Counter(record.outcome for record in records)
    assert outcomes["whole"] == 2
    assert outcomes["repeated"] < 50
    counts = f" ({outcomes['repeated']} repeated)"
    assert reason == f"all 2 configurations of the space were tried{counts}"


async def test_a_search_ends_after_many_known_configurations_in_a_row() -> None:
    class Same(Landscape):
        def candidate(self, point: Any) -> TrialCandidate:
            return TrialCandidate("/".join(f"{n}={v}" for n, v in ONE.items()), {})

    records, reason = await search_result(plan(sampler="random", trials=5), Same())
    assert [record.outcome for record in records] == ["whole"] + ["repeated"] * 200
    assert reason == (
        "the last 200 proposed configurations were rejected or repeated an earlier architecture"
    )


async def test_a_larger_plan_of_an_exhaustive_study_needs_a_new_study() -> None:
    made = plan(sampler="exhaustive", trials=1)
    nodes = {"template": hole("template", "a", "b"), "shots": hole("shots", 0)}
    rest = {"temperature": hole("temperature", 0.2), "samples": hole("samples", 1)}
    data = {"version": 1, "name": "few", "nodes": {**nodes, **rest, "form": hole("form", "prose")}}
    space, study = Space(parse_space(data)), pytest.importorskip("optuna").create_study()
    assert (await search_result(made, space=space, study=study))[1] is None
    records, reason = await search_result(replace(made, trials=2), space=space, study=study)
    assert len(records) == 1
    assert reason == (
        "the configurations that the study enqueued at its start were all tried; "
        "start a new study to try others"
    )


# -------------------------------------------------------------------------------- what is asked


async def test_hopeless_trials_are_stopped_and_the_best_is_not() -> None:
    subject = Landscape(num_items=80)
    records = await searched(plan(trials=30, stops_early=True), subject)
    stopped = [record for record in records if record.outcome == "stopped"]
    whole = [record for record in records if record.outcome == "whole"]
    assert len(stopped) >= 5
    assert all(subject.asked[r.digest or ""] == len(r.results) < 80 for r in stopped)
    assert all(len(record.results) == 80 for record in whole)
    best = max(accuracy(record.point) for record in records)
    assert max(accuracy(record.point) for record in whole) == best


async def test_hopeless_trials_are_stopped_with_several_objectives_too() -> None:
    subject = Landscape(num_items=80)
    made = plan(objectives=("accuracy", "tokens"), trials=40, stops_early=True)
    records = await searched(made, subject)
    stopped = [record for record in records if record.outcome == "stopped"]
    assert stopped
    for record in stopped:
        by = int((record.reason or "").split()[-1])
        other = next(r for r in records if r.number == by)
        assert tokens(other.point) <= tokens(record.point)


async def test_a_configuration_expected_above_a_limit_is_not_asked_and_teaches_the_sampler() -> (
    None
):
    subject = Landscape()
    made = plan(trials=40, limits=SearchLimits(tokens=200))
    records = await searched(made, subject)
    rejected = [record for record in records if record.outcome == "rejected"]
    assert rejected
    assert all(record.digest not in subject.asked for record in rejected)
    assert "tokens per answer are expected, above the limit of 200" in (rejected[0].reason or "")
    asked = [record for record in records if record.results]
    assert len(asked) == 40
    assert all(tokens(record.point) <= 200 for record in asked)
    at_random = await searched(plan(trials=40, limits=SearchLimits(tokens=200), sampler="random"))
    assert rejected_share(records) < 0.75 * rejected_share(at_random)


def rejected_share(records: Sequence[TrialRecord]) -> float:
    return sum(record.outcome == "rejected" for record in records) / len(records)


async def test_a_limit_that_only_the_results_break_excludes_a_trial() -> None:
    class Costly(Landscape):
        def candidate(self, point: Any) -> TrialCandidate:
            return TrialCandidate(super().candidate(point).digest, {"tokens": 1.0, "calls": 1.0})

    records = await searched(plan(trials=12, limits=SearchLimits(tokens=200)), Costly())
    assert {record.is_feasible for record in records} == {True, False}
    assert all(r.is_feasible == (r.values["tokens"] <= 200) for r in records)
    assert all(record.is_feasible for record in front(records, ("accuracy", "tokens")))


async def test_a_trial_above_a_limit_ends_at_the_first_rung() -> None:
    class Costly(Landscape):
        def candidate(self, point: Any) -> TrialCandidate:
            return TrialCandidate(super().candidate(point).digest, {"tokens": 1.0, "calls": 1.0})

    subject = Costly()
    made = plan(trials=12, limits=SearchLimits(tokens=200), stops_early=True)
    for record in await searched(made, subject):
        if tokens(record.point) > 200:
            assert (record.outcome, record.is_feasible) == ("stopped", False)
            assert record.reason == "above the limit of 200 tokens per answer"
            assert subject.asked[record.digest or ""] == 10


def test_a_limit_is_likely_broken_if_chance_does_not_explain_it() -> None:
    limits = SearchLimits(seconds=1, calls=3)
    slow = [ItemResult(1, 10, seconds) for seconds in (2.0, 2.1, 1.9, 2.0)]
    lone = [ItemResult(1, 10, seconds) for seconds in (0.1, 0.1, 0.1, 9.0)]
    assert limits.is_likely_broken(slow)
    assert not limits.is_likely_broken(lone)
    assert not limits.is_likely_broken(slow[:1])
    assert not limits.is_likely_broken([ItemResult(0, 0, 99, failed=True)] * 5)
    assert not SearchLimits().is_likely_broken(slow)


def test_a_limit_is_surely_broken_if_the_remaining_items_cannot_help() -> None:
    limits = SearchLimits(seconds=1)
    assert limits.is_surely_broken({"tokens": 1e9, "seconds": 20.1}, 20)
    assert not limits.is_surely_broken({"tokens": 1e9, "seconds": 20.0}, 20)


async def test_an_architecture_is_asked_once() -> None:
    class Alike(Landscape):
        def candidate(self, point: Any) -> TrialCandidate:
            return super().candidate({**point, "temperature": "0.2"})

    records = await searched(plan(trials=80, sampler="random"), Alike())
    asked = [record.digest for record in records if record.results]
    assert len(asked) == len(set(asked)) == 80
    assert any(record.outcome == "repeated" for record in records)


async def test_an_invalid_configuration_does_not_count() -> None:
    class Odd(Landscape):
        def candidate(self, point: Any) -> TrialCandidate:
            self.unsound = frozenset({super().candidate(point).digest})
            if point["form"] == '"prose"':
                return super().candidate(point)
            self.unsound = frozenset()
            return super().candidate(point)

    records = await searched(plan(trials=15), Odd())
    assert sum(record.outcome == "whole" for record in records) == 15
    assert all(r.point["form"] != '"prose"' for r in records if r.outcome == "whole")


async def test_three_trials_in_a_row_without_an_answer_are_an_error() -> None:
    class Broken(Landscape):
        async def measure(self, candidate: TrialCandidate, trial: int, num_items: int) -> Measured:
            failed = [ItemResult(0, 0, 0, failed=True)] * num_items
            return Measured(failed, error="LMError: no connection")

    with pytest.raises(
        LMError, match="every item failed in 3 trials in a row: LMError: no connection"
    ):
        await searched(plan(trials=10), Broken())


async def test_an_interrupted_trial_is_tried_again() -> None:
    import optuna

    from archon.study.samplers import make_sampler

    class Halting(Landscape):
        async def measure(self, candidate: TrialCandidate, trial: int, num_items: int) -> Measured:
            if len(self.asked) == 3:
                self.asked["halted"] = 0
                raise asyncio.CancelledError
            return await super().measure(candidate, trial, num_items)

    made, subject = plan(trials=6), Halting()
    study = optuna.create_study(sampler=make_sampler("tpe", 0), directions=made.directions)
    with pytest.raises(asyncio.CancelledError):
        await searched(made, subject, study=study)
    records = await searched(made, subject, study=study)
    states = [trial.state.name for trial in study.get_trials()]
    assert states.count("FAIL") == 1
    assert states.count("COMPLETE") == len(records) == 6
    lost = next(trial for trial in study.get_trials() if trial.state.name == "FAIL")
    again = next(t for t in study.get_trials() if t.user_attrs.get("retry_of") == lost.number)
    assert again.params == lost.params


# ---------------------------------------------------------------------------------------- rules


def test_rungs_grow_up_to_all_items() -> None:
    assert rungs(100) == [10, 20, 40, 80, 100]
    assert rungs(10) == [10]
    assert rungs(3) == [3]


def test_a_trial_is_hopeless_only_against_one_of_at_most_its_cost() -> None:
    bad, good = results(*[0] * 8), results(*[1] * 8, 1, 1)
    cheap = results(*[1] * 8, 1, 1, cost=11)
    assert dominating(bad, {3: good}, ("accuracy", "tokens")) == 3
    assert dominating(bad, {3: cheap}, ("accuracy", "tokens")) is None
    assert dominating(good[:8], {3: good}, ("accuracy", "tokens")) is None
    assert dominating(bad[:2], {3: good}, ("accuracy", "tokens")) is None


@pytest.mark.parametrize("size", [2, 6, 10, 20])
def test_a_trial_is_stopped_where_optunas_rule_prunes_it(size: int) -> None:
    """Among them pairs with ties, without ties, and without any difference."""
    optuna, stats = pytest.importorskip("optuna"), pytest.importorskip("scipy.stats")
    random, decisions = Random(size), Counter[bool]()
    with warnings.catch_warnings(action="ignore"):  # the pruner is experimental
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=P_THRESHOLD)
    for values in [(0, 1), (0, 0.5, 1), tuple(random.random() for _ in range(99)), (1,)]:
        study = optuna.create_study(direction="maximize", pruner=pruner)
        best = [max(random.choices(values, k=2)) for _ in range(40)]
        own = [min(random.choices(values, k=2)) for _ in range(size)]
        for scores in (best, own):
            trial = study.ask()
            for step, score in enumerate(scores):
                trial.report(score, step)
            if scores is best:
                study.tell(trial, statistics.mean(scores))
        is_pruned = is_worse(results(*own), results(*best), "accuracy")
        assert is_pruned == trial.should_prune()
        decisions[is_pruned] += 1
        differences = [b - a for a, b in zip(own, best, strict=False)]
        expected = stats.wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue
        assert p_greater(differences) == pytest.approx(expected, rel=1e-12)
    assert decisions[False] > 0
    assert decisions[True] > 0 or size == 2


def test_the_prediction_for_a_stopped_trial_allows_for_easy_items() -> None:
    reference = results(1, 1, 1, 1, 0, 0, 0, 0, cost=20)
    own = results(1, 1, 1, 0, cost=30)
    assert predicted(own, reference, ("accuracy", "tokens")) == [0.25, 30]


def test_the_front_has_the_trials_that_no_other_dominates() -> None:
    points = [(1, 30), (1, 30), (0, 10), (1, 40), (0, 20)]
    records = [
        TrialRecord(i, "whole", {}, str(i), results=results(score, score, cost=cost))
        for i, (score, cost) in enumerate(points)
    ]
    assert [record.number for record in front(records, ("accuracy", "tokens"))] == [0, 2]
    assert [record.number for record in front(records, ("accuracy",))] == [0]


def test_the_cost_of_a_study_has_the_savings_of_pool_and_stopping() -> None:
    whole = TrialRecord(0, "whole", {}, "a", results=results(*[1] * 10), completion_tokens=100)
    stopped = TrialRecord(
        1, "stopped", {}, "b", None, results(1, 1), generated_tokens=5, completion_tokens=40
    )
    again = TrialRecord(2, "repeated", {}, "a")
    cost = StudyCost.of([whole, stopped, again], 10)
    assert cost.generated_tokens == 5
    assert cost.without_pool_tokens == 100 + 40
    assert cost.without_both_tokens == 100 + 200
