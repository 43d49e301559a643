"""Plug-ins: node types, scorers, templates, benchmarks and providers from other packages."""
