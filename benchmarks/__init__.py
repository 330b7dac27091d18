"""How fast Huiyin is, measured beside what else speaks FastAGI; `make bench` runs it, no timed test does."""
