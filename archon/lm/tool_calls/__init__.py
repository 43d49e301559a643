"""Tool calls of models: definitions in prompts, and calls in replies.

A model learns one notation for calls. ``formats`` has the table of notations, ``readers`` reads
them, ``parsing`` separates a reply's calls from its text, ``stream`` does so while the text grows,
``grammar`` forces a reply to be a call, and ``messages`` converts tools and calls to JSON data.
"""
