"""Speed of the zoo compared with loops that users would write: `python -m benchmarks`."""
