"""How fast the zoo is, beside the loops that its users would write. `python -m benchmarks`."""
