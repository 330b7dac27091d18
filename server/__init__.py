"""The composition root and the command line: wires the rest together."""
