"""The only way in: normalise, correlate, refuse duplicates, store; invitations and their life.

Decisions are pure (`numbers`, `names`, `decide`); `calls` are the commands that write; `desk` is what channels call.
"""
