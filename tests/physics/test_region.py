"""Which part of an image is compared, and on which grid it is rendered."""

import pytest
import torch

from lumpylens.physics.noise import KEPT, Measurement
from lumpylens.physics.parameters import pack
from lumpylens.physics.region import RENDERED_MARGIN_PX, choose_region, scene_of

TABLE = torch.arange(64).reshape(8, 8) + 1


def varying(height, width, squares):
    """Two images whose variance lies in centred squares: (side, part of the variance)."""
    variance = torch.zeros(height, width)
    for side, part in squares:
        row, column = (height - side) // 2, (width - side) // 2
        variance[row : row + side, column : column + side] += part / side**2
    difference = (variance / 2).sqrt()
    return 7 + torch.stack([difference, -difference])


@pytest.mark.parametrize(("odd", "size"), [(0, 22), (1, 24)])
def test_the_square_holds_99_percent_of_the_variance(odd, size):
    side = 20 + odd
    images = varying(60 + odd, 80 + odd, [(12 + odd, 0.94), (side, 0.054), (40 + odd, 0.006)])
    found = choose_region(images, None)
    # The pixels that hold it, and a step of the grid of 2, on which the square begins and ends.
    assert found.size == size
    assert (found.row % 2, found.column % 2) == (0, 0)
    assert found.row <= 20 < 20 + side <= found.row + size
    assert found.column <= 30 < 30 + side <= found.column + size


def test_what_varies_beyond_its_noise_counts_and_not_what_is_bright():
    """A bright middle, whose noise is high, and arcs around it that are faint."""
    images = varying(60, 80, [(4, 1.0), (20, 0.01)])
    assert choose_region(images, None).size == 6
    noise = torch.full_like(images, 1e-3)
    noise[:, 28:32, 38:42] = 0.1
    assert choose_region(images, None, noise).size == 22


def test_the_square_of_compressed_images_consists_of_whole_blocks():
    found = choose_region(varying(60, 80, [(12, 0.94), (20, 0.06)]), TABLE)
    # 28 pixels are asked for; blocks begin at multiples of 8.
    assert (found.row, found.column, found.size) == (16, 24, 32)
    assert found.steps.shape == (4 * KEPT, 4 * KEPT)
    assert float(found.steps[KEPT + 1, 2]) == float(TABLE[1, 2])


@pytest.mark.parametrize(("table", "size"), [(None, 60), (TABLE, 56)])
def test_the_square_is_no_larger_than_the_image(table, size):
    found = choose_region(varying(61, 80, [(60, 1.0)]), table)
    assert found.size == size
    assert 0 <= found.row <= 61 - size
    assert 0 <= found.column <= 80 - size
    if table is not None:
        assert (found.row % 8, found.column % 8) == (0, 0)


def test_pixels_are_rendered_where_the_image_has_them():
    measurement, shape = Measurement(row=16, column=40, size=24), (60, 80)
    scene = scene_of(measurement, shape)
    x, y = scene.grid(pack())
    assert x.shape == (1, 24 + 2 * RENDERED_MARGIN_PX, 24 + 2 * RENDERED_MARGIN_PX)
    expected_x = torch.arange(80.0) - 79 / 2
    expected_y = torch.arange(60.0) - 59 / 2
    assert torch.equal(x[0, 0], expected_x[40 - RENDERED_MARGIN_PX : 64 + RENDERED_MARGIN_PX])
    assert torch.equal(y[0, :, 0], expected_y[16 - RENDERED_MARGIN_PX : 40 + RENDERED_MARGIN_PX])


def test_binned_pixels_are_rendered_at_their_middle():
    measurement, shape = Measurement(row=16, column=40, size=24), (60, 80)
    fine, binned = (scene_of(measurement, shape, pixel=pixel) for pixel in (1, 2))
    for whole, part in zip(fine.grid(pack()), binned.grid(pack()), strict=True):
        means = whole.reshape(1, 20, 2, 20, 2).mean(dim=(2, 4))
        torch.testing.assert_close(part.expand(1, 20, 20), means)
