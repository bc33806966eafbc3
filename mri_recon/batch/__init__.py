"""Many scans to image files: shared among processes and machines, within a limit of memory."""
