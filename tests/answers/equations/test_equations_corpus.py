"""Accuracy on generated chains of thought: false alarms, and mutations that are found."""

from __future__ import annotations

from fractions import Fraction
from random import Random

from equation_corpus import MAKERS, Step, chain, mutated, written

from archon.answers.equations import check_equations

NUM_CHAINS = 600


def test_right_chains_raise_no_alarm() -> None:
    alarms = [
        str(first)
        for seed in range(NUM_CHAINS)
        if (first := check_equations(written(chain(Random(seed)))).first_wrong)
    ]
    assert len(alarms) <= 0.002 * NUM_CHAINS, alarms[:5]


def test_a_mutated_result_is_found_at_its_step() -> None:
    missed = []
    for seed in range(NUM_CHAINS):
        random = Random(seed)
        text, start, end = mutated(random, chain(random))
        first = check_equations(text).first_wrong
        if first is None or not start <= first.start < first.end <= end:
            missed.append(text[start:end])
    assert len(missed) <= 0.01 * NUM_CHAINS, missed[:5]


def test_every_step_of_every_template_is_read() -> None:
    random = Random(0)
    unread = []
    for maker in MAKERS:
        steps = [maker(random) for _ in range(300)]
        unread += [step.text() for step in steps if not check_equations(step.text()).statements]
    assert not unread, unread[:5]


def test_the_generator_s_positions_and_results_match_the_text() -> None:
    assert Step("7 / 3 = {}", Fraction(7, 3), 2).text() == "7 / 3 = 2.33"
    assert Step("{}", Fraction(-1250), grouped=True).text() == "-1,250"
