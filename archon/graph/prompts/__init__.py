"""How nodes word what they ask: named templates, users' own texts, worked examples."""
