"""A folder of scans × methods → one table of per-volume metrics, with all that is needed to check it."""
