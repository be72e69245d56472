"""The shape of the images that everything here is measured on."""

SHAPE = (28, 28, 1)
SIDE = SHAPE[0]
IMAGE_SIZE = SIDE * SIDE
