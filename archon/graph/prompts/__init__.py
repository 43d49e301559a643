"""Build nodes' prompts from named templates or custom texts, and from worked examples."""
