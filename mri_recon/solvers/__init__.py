"""Iterative solvers: callables in, arrays out, no MRI."""
