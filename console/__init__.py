"""The supervisors' pages and the HTTP API. Not built yet; health and metrics stand in server/health.py."""
