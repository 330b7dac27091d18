"""Stand-ins for the outside: a centre, an Asterisk with its caller. For the demo, tests and drills."""
