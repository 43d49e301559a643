"""Tests for the authors of plug-ins and models.

Each ``check_`` function tests one object against the rules that Archon relies on, and raises
``AssertionError`` with a sentence that says which rule is broken. They need no test framework::

    from archon.testing import check_node, run_node

    def test_shortest():
        check_node("shortest", {"keep": 2})
        kept = run_node("shortest", ["The answer is 4.", "4"], keep=1)
        assert [candidate.text for candidate in kept] == ["4"]

The objects must be registered: import the plug-in's module, install its package, or load it with
``load_plugin``.
"""

from archon.lm.scripted.heuristic import HeuristicScript
from archon.lm.scripted.lm import ScriptedLM, by_rules, in_turn
from archon.plugins.discovery import load as load_plugin
from archon.plugins.lookup import isolated as isolated_plugins
from archon.testing.models import check_lm, check_provider
from archon.testing.nodes import candidates, check_node, run_node
from archon.testing.scoring import check_benchmark, check_scorer, check_template, run_scorer

__all__ = [
    "HeuristicScript",
    "ScriptedLM",
    "by_rules",
    "candidates",
    "check_benchmark",
    "check_lm",
    "check_node",
    "check_provider",
    "check_scorer",
    "check_template",
    "in_turn",
    "isolated_plugins",
    "load_plugin",
    "run_node",
    "run_scorer",
]
