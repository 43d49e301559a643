"""Converts layered files of the original Archon project to architectures.

``layers`` reads a file leniently, ``component_keys`` and ``servers`` convert each key and each kind
of server, ``pruning`` removes components that cannot be part of a graph, ``paper_rules`` checks the
file against the paper, ``graph_writer`` writes the architecture. ``conversion_log`` collects what
is lost.

Nothing is lost silently: a key of the file is in the architecture, or it is a ``Loss``.
"""

from archon.convert.conversion_log import Loss, Remark
from archon.convert.graph_writer import Conversion, convert

__all__ = ["Conversion", "Loss", "Remark", "convert"]
