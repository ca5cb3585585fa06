"""One encoder reads images of any size."""

import numpy as np
import pytest
import torch

from lumpylens.detectors.encoder.detector import EncoderConfig, EncoderDetector, obtain_encoder
from lumpylens.physics.encoder import ESTIMATED, LENGTHS, Encoder, Eyepiece, to_unit
from lumpylens.physics.parameters import INDEX
from lumpylens.results.calibration import Calibration
from lumpylens.simulation import simulate_with_truth
from lumpylens.store.folder import load_model, save_model
from lumpylens.store.trained import TrainedModel
from lumpylens.training.run import Run


def test_whole_pixels_are_averaged():
    pixels = torch.rand(2, 151, 133, generator=torch.Generator().manual_seed(0))
    eyepiece = Eyepiece.for_shape((151, 133))
    assert (eyepiece.binning, eyepiece.samples) == (3, (50, 44))
    means = pixels[:, :150, :132].reshape(2, 50, 3, 44, 3).mean(dim=(2, 4))
    torch.testing.assert_close(eyepiece(pixels), to_unit(means))


@pytest.mark.parametrize("shape", [(150, 150), (91, 91), (64, 64), (32, 32), (60, 91), (301, 300)])
def test_samples_lie_where_the_scene_renders_them(shape):
    eyepiece = Eyepiece.for_samples(shape, (50, 50))
    rows, columns = (torch.arange(side) - (side - 1) / 2 for side in shape)
    # A blob that is dark at the border, away from the middle.
    across, down, width = 0.1 * shape[1], -0.05 * shape[0], min(shape) / 20
    blob = torch.exp(-((columns - across) ** 2 + (rows[:, None] - down) ** 2) / (2 * width**2))
    seen = eyepiece(blob[None])[0]
    x, y = (axis[0] for axis in eyepiece.scene.grid(torch.zeros(1, dtype=torch.float32)))
    centroid = [float((axis * seen).sum() / seen.sum()) for axis in (x, y)]
    assert centroid == pytest.approx([across, down], abs=0.02)


def test_its_own_samples_are_whole_pixels():
    for shape in ((150, 150), (91, 91), (65, 130)):
        own = Eyepiece.for_shape(shape)
        assert Eyepiece.for_samples(shape, own.samples) == own


def test_only_lengths_change_with_the_pixel():
    encoder = Encoder((50, 50)).eval()
    view = torch.rand(3, 50, 50)
    (before, spread), (after, same) = encoder(view), encoder.for_pixels(0.5)(view)
    for name, change in zip(ESTIMATED, (after - before).T, strict=True):
        expected = np.log(0.5) if name in LENGTHS else 0.0
        torch.testing.assert_close(change, torch.full((3,), expected), atol=1e-5, rtol=0)
    torch.testing.assert_close(spread, same)


@pytest.mark.parametrize("preset", ["slc", "euclid", "lsst"])
def test_einstein_radii_in_images_of_other_sizes(preset):
    lenses = simulate_with_truth(preset, 64, seed=5)
    pixels = torch.from_numpy(lenses.images.stack().pixels)
    shape = tuple(pixels.shape[1:])
    encoder, rounds = obtain_encoder(EncoderConfig(encoder="shipped"), shape, Run())
    with torch.no_grad():
        estimates = encoder(Eyepiece.for_samples(shape, encoder.input_shape)(pixels))[0]
    truth = torch.cat([lens.parameters() for lens in lenses.lenses])
    name = "log_einstein_radius_px"
    off = estimates[:, ESTIMATED.index(name)] - truth[:, INDEX[name]]
    assert rounds == []
    assert off.abs().median() < 0.15


def test_a_stored_detector_reads_as_before(tmp_path):
    images = simulate_with_truth("euclid", 60, seed=6).images
    detector = EncoderDetector(EncoderConfig(encoder="shipped")).fit(images)
    assert detector.encoder.input_shape == (50, 50)
    scores = detector.anomaly_score(images)
    model = TrainedModel(detector, Calibration(scores), seen={}, info={})
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model").detector
    np.testing.assert_allclose(again.anomaly_score(images), scores, rtol=1e-6)
