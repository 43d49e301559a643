"""Models on servers that speak the OpenAI protocol.

Read ``client`` (``RemoteLM``), ``payload`` (request bodies), ``transport`` (HTTP), ``response``
(replies → completions); then ``field_adaptation`` and ``server_errors`` (what servers reject),
``structured_output``, ``finish_reasons``, ``load_balancer`` and ``sse``.
"""
