"""Building a graph from its file, and the rules it must obey."""
