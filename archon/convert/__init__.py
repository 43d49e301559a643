"""Convert layered files of the original Archon project to architectures.

``layers`` reads a file leniently. ``paper_rules`` checks it against the paper's rules, and
``pruning`` removes components that cannot be part of a graph. ``graph_writer`` builds the
architecture. It uses ``component_keys`` to convert the keys of a component, and ``servers`` to
convert its model. ``conversion_log`` collects losses and remarks.

Nothing is lost silently: every key of the file is either in the architecture or reported as a
``Loss``.
"""

from archon.convert.conversion_log import Loss, Remark
from archon.convert.graph_writer import Conversion, convert

__all__ = ["Conversion", "Loss", "Remark", "convert"]
