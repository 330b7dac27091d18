"""The servers that are measured, each a process of its own: `python -m benchmarks.servers.NAME`.

Each listens on a free port of 127.0.0.1, writes `ready PORT` to standard output once it accepts calls, speaks the
dialogue of `benchmarks.scripts` and ends at SIGTERM.
"""
