"""A self-contained HTML page for a study."""
