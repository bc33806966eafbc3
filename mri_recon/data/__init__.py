"""Scans: reading, writing, and making them."""
