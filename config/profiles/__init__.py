"""Shipped centre profiles: what a centre wants to read, as data (config/profile.py reads and validates them)."""
