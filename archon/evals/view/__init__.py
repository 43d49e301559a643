"""The HTML page that shows one run, or compares several, in a single self-contained file."""
