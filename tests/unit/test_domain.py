"""Images unlike those that a model learned from are told apart; lumpy ones are not."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.data.readers.pictures import decode
from lumpylens.detectors.domain import Domain
from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model

SIDE = 150


@pytest.fixture(scope="module")
def domain() -> Domain:
    """What the shipped models learned."""
    domain = load_model("slc-pixel").detector.domain
    assert domain is not None
    assert domain.layout is not None
    return domain


@pytest.fixture(scope="module")
def smooth() -> ImageBatch:
    return simulate("slc", 40, seed=5).stack()


def compressed(image: np.ndarray, quality: int = 75) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and quantisation table of an image saved as JPEG."""
    file = io.BytesIO()
    Image.fromarray(image.clip(0, 255).round().astype(np.uint8)).save(file, "JPEG", quality=quality)
    picture = decode(file.getvalue())
    return np.asarray(picture.pixels, np.float32), picture.jpeg_table


def batch_of(pixels: np.ndarray, quality: int | None = None) -> ImageBatch:
    images = [np.asarray(image, np.float32) for image in pixels]
    tables: tuple = ()
    if quality is not None:
        images, tables = zip(*(compressed(image, quality) for image in images), strict=True)
    return ImageBatch(np.arange(len(images)), np.stack(images), jpeg_tables=tuple(tables))


def zoomed(image: np.ndarray, zoom: float) -> np.ndarray:
    middle = (SIDE - 1) / 2
    return affine_transform(
        image, [1 / zoom] * 2, offset=[middle - middle / zoom] * 2, order=1, mode="nearest"
    )


def star(width: float) -> np.ndarray:
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    return 255 * np.exp(-(x**2 + y**2) / (2 * width**2))


def filled(image: np.ndarray) -> np.ndarray:
    changed = image.copy()
    changed[:, :45] = 0
    return changed


def test_normal_and_lumpy_images_are_not_warned_of(domain, smooth):
    assert domain.warnings(smooth) == [""] * len(smooth)
    for kind in ("points", "spheres", "points-compensated"):
        lumpy = simulate("slc", 40, seed=6, substructure=kind).stack()
        assert domain.warnings(lumpy) == [""] * len(lumpy), kind


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image: np.roll(image, 5, 1), "shifted to the right"),
        (lambda image: np.roll(image, (-5, 5), (0, 1)), ""),
        (lambda image: np.roll(image, 3, 0), ""),
        (lambda image: zoomed(image, 0.8), ""),
        (lambda image: zoomed(image, 1.25), ""),
        (lambda image: gaussian_filter(image, 1.5), ""),
        (filled, "filled at its first columns"),
        (
            lambda image: image + np.random.default_rng(0).normal(0, 8, image.shape),
            "the (grain|sharpness)",
        ),
    ],
)
def test_changed_images_are_warned_of(domain, smooth, change, said):
    warnings = domain.warnings(batch_of([change(image) for image in smooth.pixels], 75))
    assert np.mean([bool(text) for text in warnings]) >= 0.9
    assert any(re.match(f"not like the training images: .*{said}", text) for text in warnings)


def test_images_turned_by_a_quarter_are_mostly_told(domain, smooth):
    """Those of round lenses hardly differ from images that were not turned."""
    warnings = domain.warnings(batch_of(np.rot90(smooth.pixels, 1, (1, 2)), 75))
    turned = [text for text in warnings if "rotated by 90 degrees" in text]
    assert len(turned) >= 0.5 * len(smooth)


def test_things_that_are_no_lenses_are_warned_of(domain):
    noise = np.random.default_rng(0).normal(100, 20, (SIDE, SIDE))
    assert all(domain.warnings(batch_of([star(width) for width in (2, 4, 8, 15)] + [noise])))


@pytest.mark.parametrize("quality", [20, 50, 60, 90])
def test_a_jpeg_file_of_another_quality_is_warned_of(domain, smooth, quality):
    assert domain.warnings(batch_of(smooth.pixels, 75)) == [""] * len(smooth)
    warnings = domain.warnings(batch_of(smooth.pixels, quality))
    assert all("JPEG file of another quality" in text for text in warnings)


def test_steps_that_are_multiples_are_seen_in_pixels_alone(smooth):
    """Of a JPEG file that was saved again, and then as something else."""
    model = load_model("slc-physics")
    pixels = np.stack([compressed(image, 50)[0] for image in smooth.pixels[:4]])
    table = model.score(LensImages.from_arrays(pixels))
    assert all("not" in text and "like the training images" in text for text in table.warning)
    assert np.isnan(table.p_value).all()
    assert np.isfinite(table.anomaly_score).all()


def test_a_hubble_lens_is_no_challenge_image(domain, real_data: Path):
    for item in LensImages.open(real_data / "slacs"):
        cut = item.image[25:175, 25:175]
        cut = cut.clip(np.quantile(cut, 0.01), np.quantile(cut, 0.999))
        assert all(domain.warnings(batch_of([cut]))), item.id


@pytest.mark.parametrize("name", ["16-jpeg-resaved-q50", "18-slc-pixel-foreign"])
def test_foreign_images_have_no_p_value(real_data: Path, name: str):
    folder = real_data / "cases" / name
    if not folder.is_dir():
        pytest.skip(f"LUMPYLENS_TEST_DATA has no cases/{name}")
    images = LensImages.open(folder)
    for model in ("slc-pixel", "slc-physics"):
        table = load_model(model).score(images)
        for name, warning, p_value in zip(table.id, table.warning, table.p_value, strict=True):
            assert bool(warning) == np.isnan(p_value) == ("q75" not in name), name


def test_filled_edges_are_seen_where_the_sky_is_noisy():
    rows = np.random.default_rng(0).normal(size=(120, 30, 40)).astype(np.float32)
    domain = Domain.learn(batch_of(rows))
    edge = rows[:1].copy()
    edge[:, :, :2] = 0
    assert domain.warnings(batch_of(rows[:1])) == [""]
    (said,) = domain.warnings(batch_of(edge))
    assert "3% of its rows and columns have one value" in said


def test_few_images_teach_no_layout():
    pixels = np.random.default_rng(0).random((20, 12, 12), np.float32)
    domain = Domain.learn(batch_of(pixels))
    assert (domain.layout, domain.texture) == (None, None)
    assert domain.warnings(batch_of(pixels)) == [""] * 20


def test_tables_are_compared_only_where_all_training_images_share_one(smooth):
    mixed = replace(
        batch_of(smooth.pixels, 75),
        jpeg_tables=tuple(compressed(star(9), 50 + k % 2)[1] for k in range(len(smooth))),
    )
    assert Domain.learn(mixed).jpeg_table is None
    assert Domain.learn(batch_of(smooth.pixels)).jpeg_table is None


def test_what_was_learned_survives_as_arrays(domain, smooth):
    again = Domain(domain.low, domain.high, domain.one_value, domain.flat_lines).with_arrays(
        domain.arrays()
    )
    changed = batch_of([zoomed(image, 0.8) for image in smooth.pixels], 50)
    assert again.warnings(changed) == domain.warnings(changed)
    bare = Domain(domain.low, domain.high).with_arrays({})
    assert bare.warnings(smooth) == [""] * len(smooth), "models made before are not checked"
    broken = domain.arrays() | {"layout.limits": np.zeros(3)}
    with pytest.raises(ValueError, match="limits has shape"):
        domain.with_arrays(broken)


def test_another_pixel_scale_is_told_and_kept():
    euclid = simulate("euclid", 12, seed=3).stack()
    learned = Domain.learn(euclid)
    domain = Domain(learned.low, learned.high).with_arrays(learned.arrays())
    assert domain.warnings(euclid) == [""] * 12
    assert domain.warnings(replace(euclid, pixel_scale_arcsec=0.1005)) == [""] * 12
    assert domain.warnings(replace(euclid, pixel_scale_arcsec=None)) == [""] * 12
    (text, *_) = domain.warnings(replace(euclid, pixel_scale_arcsec=0.05))
    assert text == (
        'not like the training images: its pixels are 0.05" wide, those of the training images 0.1"'
    )
