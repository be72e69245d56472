import numpy as np

from fmae_zoo.augmentation import augmented, erased, mirrored, shifted


def test_for_a_dense_encoder_images_are_only_mirrored(few):
    images = few.train_images[..., None] / np.float32(255)
    changed = augmented(images, np.random.default_rng(0), convolutional=False)
    same = (changed == images).all(axis=(1, 2, 3))
    flipped = (changed == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | flipped).all()
    assert same.any()
    assert flipped.any()


def test_for_a_convolutional_encoder_they_are_moved_and_erased_too(few):
    images = few.train_images[..., None] / np.float32(255)
    changed = augmented(images, np.random.default_rng(0), convolutional=True)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(changed, erased(mirrored(shifted(images, rng), rng), rng))


def test_a_shift_is_of_two_pixels_at_most_and_keeps_the_ink():
    images = np.zeros((500, 28, 28, 1), "float32")
    images[:, 10, 12] = 1.0
    moved = shifted(images, np.random.default_rng(0))
    rows, columns = np.nonzero(moved[..., 0])[1:]
    assert moved.sum() == 500
    assert set(rows) == {8, 9, 10, 11, 12}
    assert set(columns) == {10, 11, 12, 13, 14}


def test_erasing_puts_one_rectangle_of_noise_into_half_of_the_images():
    images = np.full((400, 28, 28, 1), 2.0, "float32")
    noisy = erased(images, np.random.default_rng(0))
    changed = (noisy != images)[..., 0]
    hit = changed.any(axis=(1, 2))
    assert 150 < hit.sum() < 250
    assert 0.0 <= noisy[changed].min() <= noisy[changed].max() < 1.0
    assert (images == 2.0).all()
    for pixels in changed[hit]:
        sides = pixels.any(axis=1).sum(), pixels.any(axis=0).sum()
        assert pixels.sum() == sides[0] * sides[1]
        assert 4 <= min(sides) <= max(sides) <= 14
