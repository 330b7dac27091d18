"""The push: from the outbox to the central 好差评 system, at least once on the wire and once in effect.

`payload`, `signing`, `answers` and `retry` are pure. `commands` is what the push writes, `client` what it sends, `push`
the shell that ties them; `outbox` and `reconcile` serve the command line.
"""
