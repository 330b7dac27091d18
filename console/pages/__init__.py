"""The supervisors' pages (docs/console.md)."""
