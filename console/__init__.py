"""The HTTP API, and later the supervisors' pages."""
