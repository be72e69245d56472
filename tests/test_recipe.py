import keras
import numpy as np
import pytest

from fmae_zoo.augmentation import epoch_of
from fmae_zoo.recipe import PatchMask, Recipe
from fmae_zoo.training.optimizer import make_optimizer

pytestmark = pytest.mark.usefixtures("eager")


def test_the_cosine_schedule_warms_up_and_ends_at_zero():
    recipe = Recipe(learning_rate=0.1, epochs=10, warmup_epochs=1)
    rate = make_optimizer(recipe, 10)._learning_rate
    values = [float(keras.ops.convert_to_numpy(rate(step))) for step in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(values, [0.0, 0.05, 0.1, 0.05, 0.0], atol=1e-6)


def test_an_epoch_depends_on_its_rng_alone(few):
    recipe = Recipe(augment=True, mask=PatchMask(probability=0.5, images=0.5))
    one = epoch_of(few.train_images, recipe, np.random.default_rng([1, 2]))
    same = epoch_of(few.train_images, recipe, np.random.default_rng([1, 2]))
    other = epoch_of(few.train_images, recipe, np.random.default_rng([1, 3]))
    for first, second in zip(one, same):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(one.inputs, other.inputs)
    assert not np.array_equal(one.mask, other.mask)


def test_masks_blank_whole_patches_of_some_images_and_leave_the_target(few):
    recipe = Recipe(mask=PatchMask(patch=4, probability=0.4, images=0.5))
    images = np.full((400, 28, 28), 255, np.uint8)
    inputs, targets, _ = epoch_of(images, recipe, np.random.default_rng(0))
    assert targets.min() == 1
    patches = inputs.reshape(400, 7, 4, 7, 4)
    assert set(np.unique(patches.mean(axis=(2, 4)))) == {0.0, 1.0}
    masked = (inputs == 0).any(axis=(1, 2, 3))
    assert 0.4 < masked.mean() < 0.6
    assert 0.35 < (inputs[masked] == 0).mean() < 0.45


def test_masks_end_when_the_recipe_says_so():
    recipe = Recipe(epochs=4, mask=PatchMask(probability=0.5, until=0.5))
    images = np.full((50, 28, 28), 255, np.uint8)
    masked = [
        bool((epoch_of(images, recipe, np.random.default_rng(0), e)[0] == 0).any())
        for e in range(4)
    ]
    assert masked == [True, True, False, False]


def test_binarised_pixels_keep_their_mean():
    images = np.full((2000, 28, 28), 64, np.uint8)
    inputs, targets, _ = epoch_of(images, Recipe(binarise=True), np.random.default_rng(0))
    assert set(np.unique(inputs)) == {0.0, 1.0}
    assert inputs.mean() == pytest.approx(64 / 255, abs=2e-3)
    np.testing.assert_array_equal(inputs, targets)


def test_adamw_without_decay_does_not_decay_and_constant_rates_warm_up():
    assert make_optimizer(Recipe(optimizer="adamw"), 10).weight_decay == 0.0
    muon = make_optimizer(Recipe(optimizer="muon"), 10)
    assert muon.weight_decay == muon.adam_weight_decay == 0.0
    recipe = Recipe(schedule="constant", warmup_epochs=1, epochs=3, learning_rate=1e-2)
    schedule = make_optimizer(recipe, 10)._learning_rate
    rates = [float(keras.ops.convert_to_numpy(schedule(step))) for step in (0, 5, 10, 29)]
    assert rates == pytest.approx([0.0, 5e-3, 1e-2, 1e-2])


def test_muon_moves_a_convolution_kernel_by_an_orthogonal_matrix():
    """Its singular values are near 1 for any gradient; Adam keeps those with one channel."""
    kernel = keras.Variable(np.zeros((3, 3, 2, 4), "float32"), name="kernel")
    image = keras.Variable(np.zeros((3, 3, 1, 4), "float32"), name="kernel_of_images")
    muon = make_optimizer(Recipe(optimizer="muon", learning_rate=1.0, schedule="constant"), 1)
    muon.build([kernel, image])
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(v.shape).astype("float32") for v in (kernel, image)]
    muon.apply_gradients(
        [(keras.ops.convert_to_tensor(g), v) for g, v in zip(gradients, (kernel, image))]
    )
    moved = -keras.ops.convert_to_numpy(kernel.value).reshape(18, 4)
    scale = 0.2 * np.sqrt(18)
    values = np.linalg.svd(moved / scale, compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert np.sum(moved * gradients[0].reshape(18, 4)) > 0
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(image.value), -np.sign(gradients[1]), atol=1e-3
    )


def test_a_cosine_schedule_can_begin_again_lower():
    recipe = Recipe(learning_rate=0.1, epochs=6, restart={"epoch": 4, "learning_rate": 0.02})
    rate = make_optimizer(recipe, 10)._learning_rate
    values = [float(keras.ops.convert_to_numpy(rate(step))) for step in (0, 20, 39, 40, 50, 60)]
    np.testing.assert_allclose(values, [0.1, 0.05, 0.000154, 0.02, 0.01, 0.0], atol=1e-5)


def test_a_restart_needs_a_cosine_and_a_shorter_run_has_none():
    short = {"learning_rate": 0.1, "epochs": 4}
    with_it = make_optimizer(Recipe(**short, restart={"epoch": 4, "learning_rate": 0.02}), 10)
    without = make_optimizer(Recipe(**short), 10)
    for step in (0, 25, 39):
        assert float(with_it._learning_rate(step)) == float(without._learning_rate(step))
    with pytest.raises(ValueError, match="only a cosine schedule"):
        Recipe(schedule="constant", restart={"epoch": 4, "learning_rate": 0.02})
