"""What `pixel` sees of an image, and what it makes of that."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from lumpylens.data.images import LensImages
from lumpylens.detectors import create
from lumpylens.detectors.pixel.network import FEATURES, PixelConfig, PixelNetwork
from lumpylens.detectors.pixel.views import Window, blots, spots, stretched
from lumpylens.training.loop import seeded

PLAIN = {"angle": torch.zeros(1), "mirror": torch.ones(1)}


def ring(radius: float, size: int = 150) -> torch.Tensor:
    """A ring of a Gaussian profile around a spot in the middle, shape (1, size, size)."""
    y, x = (torch.arange(size) - (size - 1) / 2)[:, None], torch.arange(size) - (size - 1) / 2
    away = torch.hypot(y, x)
    return (torch.exp(-((away - radius) ** 2) / 18) + torch.exp(-(away**2) / 8))[None]


def brightest_radius(seen: torch.Tensor, binning: int) -> float:
    """Where the ring of a picture of it lies, in image pixels from the middle."""
    size = seen.shape[-1]
    along = seen[0, size // 2 - 1 : size // 2 + 1].mean(dim=0)[size // 2 :].clone()
    along[: 10 // binning] = 0
    at = torch.arange(len(along)) + 0.5
    weight = along**2
    return float((at * weight).sum() / weight.sum()) * binning


@pytest.mark.parametrize("outward", [-2.5, 0.0, 1.2, 3.0])
def test_a_bend_moves_a_ring_by_that_many_pixels(outward):
    window = Window((150, 150), core_px=5)
    seen = window.look(ring(30), **PLAIN, outward_px=torch.tensor([outward]))
    assert brightest_radius(seen, 2) == pytest.approx(30 + outward, abs=0.1)


def test_a_bend_leaves_the_middle_alone():
    window = Window((150, 150), core_px=10)
    before = window.look(ring(40), **PLAIN)
    after = window.look(ring(40), **PLAIN, outward_px=torch.tensor([1.2]))
    assert (after - before)[0, 29:31, 29:31].abs().max() < 0.01
    assert (after - before).abs().max() > 0.1


def test_turns_and_mirrors_are_what_they_say():
    window = Window((41, 64), core_px=3)
    image = torch.rand(1, 41, 64)
    seen = window.look(image, **PLAIN)
    half = window.look(image, torch.tensor([torch.pi]), torch.ones(1))
    torch.testing.assert_close(half, seen.flip(1, 2), rtol=0, atol=1e-4)
    upside = window.look(image, torch.zeros(1), -torch.ones(1))
    torch.testing.assert_close(upside, seen.flip(1), rtol=0, atol=1e-4)
    torch.testing.assert_close(seen, image, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "binning", "seen"),
    [
        ((150, 150), 2, (60, 60)),
        ((60, 61), 1, (60, 61)),
        ((9, 9), 1, (9, 9)),
        ((201, 151), 2, (80, 60)),
        ((1000, 1000), 13, (62, 62)),
    ],
)
def test_any_image_is_seen_in_a_size_that_a_network_can_learn(shape, binning, seen):
    window = Window(shape, core_px=5)
    assert (window.binning, window.seen_shape) == (binning, seen)
    assert max(side * binning for side in seen) <= max(shape)
    assert window.look(torch.rand(2, *shape), torch.zeros(2), torch.ones(2)).shape == (2, *seen)


def test_spots_lie_in_the_middle_and_blots_anywhere():
    like = torch.zeros(400, 60, 60)
    with seeded(0):
        spotted, blotted = spots(like, 0.4), blots(like, torch.full((400,), -0.3))
    assert 0.2 < spotted.abs().amax() <= 0.4
    assert spotted.amin() < 0 < spotted.amax()
    at = spotted.abs().flatten(1).argmax(dim=1)
    assert ((at // 60 - 29.5).abs() < 1).all()
    assert ((at % 60 - 29.5).abs() < 1).all()
    assert blotted.amax() == 0
    deepest = blotted.flatten(1).amin(dim=1)
    assert ((deepest >= -0.3) & (deepest < -0.2)).all()
    rows = blotted.flatten(1).argmin(dim=1) // 60
    assert rows.min() < 5
    assert rows.max() > 54


def test_the_scale_keeps_black_and_white_and_lifts_the_faint():
    seen = stretched(torch.tensor([0.0, 0.02, 1.0]))
    assert seen[[0, 2]].tolist() == pytest.approx([0, 1])
    assert 0.1 < seen[1] < 0.2


def test_a_view_says_by_how_much_it_is_bent():
    """The answers that are learned belong to the views that are shown."""
    network = PixelNetwork(PixelConfig(spot=0, blot=0, turn_deg=0), (150, 150))
    with seeded(1):
        seen, truth = network.bent(ring(30).expand(20, 150, 150))
    found = [brightest_radius(one[None], 2) for one in seen]
    np.testing.assert_allclose(found, 30 + 1.2 * truth[:, 0].numpy(), atol=0.25)


def test_a_shift_of_the_ring_counts_for_nothing_in_free_outward(monkeypatch):
    random = np.random.default_rng(0)
    detector = create("pixel")
    root = random.normal(size=(FEATURES, FEATURES))
    detector.centre, detector.precision = random.normal(size=FEATURES), root @ root.T
    detector.bending, detector.offset_px = random.normal(size=FEATURES), 0.25
    features = random.normal(size=(5, FEATURES))
    batch = next(iter(LensImages.from_arrays(random.random((5, 9, 9))).batches(5)))

    def scores(moved: float):
        shown = features + moved * detector.bending
        monkeypatch.setattr(detector, "_look", lambda _: (shown, np.full(5, 1.0)))
        return detector._score_batch(batch)

    here, there = scores(0.0), scores(3.0)
    np.testing.assert_allclose(
        there.components["free_outward"], here.components["free_outward"], rtol=1e-6
    )
    assert not np.allclose(there.anomaly_score, here.anomaly_score, rtol=1e-3)
    assert (here.components["free_outward"] < here.anomaly_score).all()
    assert (here.components["free_outward"] > 0).all()
    np.testing.assert_allclose(here.components["outward_px"], 0.75)


@pytest.mark.slow
def test_it_knows_no_lens_equation():
    code = "import sys, lumpylens.detectors.pixel.detector; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "lumpylens.detectors.pixel.views" in loaded
    assert not [name for name in loaded if name.startswith(("lumpylens.physics", "caustics"))]
