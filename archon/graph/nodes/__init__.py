"""The types of nodes, one file each; ``table`` tells which spec makes which."""
