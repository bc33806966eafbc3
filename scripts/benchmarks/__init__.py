"""Parts of scripts/benchmark_cs: the objective, the contestants, the cases and what is printed of them."""
