"""Prompts of nodes: named templates, custom texts, worked examples."""
