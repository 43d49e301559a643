"""OpenTelemetry spans of questions, nodes, model calls and served requests.

``spans`` has the hooks, ``attributes`` the names of the GenAI semantic conventions, ``provider``
finds the tracer that the process has configured, and ``setup`` configures one. Without one, a hook
costs a dictionary lookup. OpenTelemetry is imported only by ``setup``.
"""
