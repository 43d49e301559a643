"""Load the items of benchmarks, with one module for each kind of source."""

from archon.evals.benchmarks.function import PythonBenchmark
from archon.evals.benchmarks.items import SPLITS, Item, Selection, Split
from archon.evals.benchmarks.load import load_items

__all__ = ["SPLITS", "Item", "PythonBenchmark", "Selection", "Split", "load_items"]
