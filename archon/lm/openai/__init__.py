"""Models on servers that speak the OpenAI protocol.

``client`` contains the model (``RemoteLM``). ``payload`` builds request bodies, ``transport`` sends
them, and ``response`` turns replies into completions. ``load_balancer`` chooses a server, ``sse``
parses streams, and ``structured_output`` implements constraints after free text.
``finish_reasons``, ``server_errors`` and ``field_adaptation`` handle the differences between
servers.
"""
