"""Benchmarks of speed: engine, graph, server, and rivals on the same work."""
