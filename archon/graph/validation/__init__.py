"""Validation rules of graphs, and the construction of a valid graph from its spec."""
