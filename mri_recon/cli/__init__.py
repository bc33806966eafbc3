"""The command line: parse, one call into the Python API, print."""
