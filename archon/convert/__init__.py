"""The layered files of the original Archon project, turned into architectures of ours.

``layers`` reads a file as leniently as it can be read, ``keys`` and ``servers`` say what becomes
of each key and of each kind of server, ``plan`` finds components that have no place in a graph,
``paper_rules`` holds the file against the paper, ``convert`` writes the architecture.

Nothing is lost silently: a key of the file is told by the architecture, or it is a ``Loss``.
"""

from archon.convert.conversion_log import Loss, Remark
from archon.convert.graph_writer import Conversion, convert

__all__ = ["Conversion", "Loss", "Remark", "convert"]
