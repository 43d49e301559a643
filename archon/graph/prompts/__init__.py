"""Prompts of nodes, built from named templates or custom texts and from worked examples."""
