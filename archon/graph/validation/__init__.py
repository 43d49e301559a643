"""Validate graphs, and build a valid graph from its spec."""
