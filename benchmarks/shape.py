"""The image shape of all benchmarks."""

SHAPE = (28, 28, 1)
SIDE = SHAPE[0]
IMAGE_SIZE = SIDE * SIDE
