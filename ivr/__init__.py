"""FastAGI: the dialogue with a caller of the hotline.

`dialogue`, `request` and `prompts` decide and know no I/O; `agi` is the codec; `session` and `listener` are the wire;
`call` plays a dialogue over a session; `server` puts them together.
"""
