"""A fit ends where it should, says when it has not, and does not depend on other images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.physics.detector import PhysicsDetector
from lumpylens.detectors.physics.examination import take
from lumpylens.errors import DataError
from lumpylens.physics.batches import unsplit
from lumpylens.physics.fit_data import Fit, Solution
from lumpylens.physics.inference import CONVERGED, descend, fit, normal_matrix
from lumpylens.physics.learning import stages_of
from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model

FEW = 9


@pytest.fixture(scope="module")
def detector() -> PhysicsDetector:
    made = load_model("slc-physics").detector
    assert isinstance(made, PhysicsDetector)
    return made


@pytest.fixture(scope="module")
def lenses() -> ImageBatch:
    """Some smooth, some lumpy; the last two take steps to and fro without `LEARNS_AFTER`."""
    lumpy = simulate("slc", 55, seed=5, substructure="points")[[0, 1, 33, 54]]
    return (simulate("slc", 5, seed=2) + lumpy).stack()


@pytest.fixture(scope="module")
def solved(detector: PhysicsDetector, lenses: ImageBatch) -> Solution:
    with torch.no_grad(), unsplit():
        return detector.examiner.look(lenses).solved


@pytest.fixture(autouse=True)
def _as_detectors_do() -> Iterator[None]:
    """On one thread for each chunk of images, since torch splits sums among threads."""
    with torch.no_grad(), unsplit():
        yield


def sigmas(detector: PhysicsDetector, solved: Solution) -> torch.Tensor:
    """Standard deviation of every parameter of every lens."""
    prior = detector.examiner.prior
    count = len(prior.mean)
    hessian = normal_matrix(solved.line, solved.evidence.information).double()
    hessian[:, :count, :count] += prior.precision
    return torch.linalg.inv(hessian).diagonal(dim1=1, dim2=2)[:, :count].sqrt()


def again(
    detector: PhysicsDetector, lenses: ImageBatch, start: torch.Tensor, **settings: int
) -> Fit:
    model = detector.examiner.model
    data = detector.examiner.unit.observe(model, lenses)
    return fit(model, data, start, detector.examiner.prior, **settings)


def test_every_fit_converges(solved: Solution) -> None:
    assert solved.fitted.converged.all()


def test_it_ends_at_the_same_place_from_elsewhere(
    detector: PhysicsDetector, lenses: ImageBatch, solved: Solution
) -> None:
    """From three standard deviations away, to a hundredth of one."""
    sigma = sigmas(detector, solved)
    away = 3 * torch.randn(sigma.shape, generator=torch.Generator().manual_seed(0))
    other = again(detector, lenses, (solved.fitted.values + away * sigma).float())
    assert other.converged.all()
    off = (other.values - solved.fitted.values) / sigma
    assert float(off.abs().max()) < 10 * CONVERGED**0.5


def test_the_gradient_is_zero_at_the_end(detector: PhysicsDetector, solved: Solution) -> None:
    """Of the likelihood at the noise predicted there, for every parameter and amplitude."""
    prior = detector.examiner.prior
    count = len(prior.mean)
    slope = torch.einsum("nka,na->nk", solved.line.tangents, solved.evidence.score)
    slope[:, :count] -= (solved.fitted.values - prior.mean) @ prior.precision
    hessian = normal_matrix(solved.line, solved.evidence.information)
    scale = hessian.diagonal(dim1=1, dim2=2).sqrt()
    assert float((slope / scale).abs().max()) < 0.02


def test_what_has_not_converged_says_so(
    detector: PhysicsDetector, lenses: ImageBatch, solved: Solution
) -> None:
    start = solved.fitted.values + 5 * sigmas(detector, solved).float()
    short = again(detector, lenses, start, steps=1)
    assert not short.converged.any()
    assert again(detector, lenses, start).converged.all()


def test_an_unfinished_fit_is_a_warning(
    detector: PhysicsDetector, lenses: ImageBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lumpylens.physics import inference

    monkeypatch.setattr(inference, "CONVERGED", 0.0)
    found = detector.score(lenses.pixels[:2])
    assert all("has not converged in" in text for text in found.warning)


@pytest.mark.parametrize("others", [[0], [8], [3, 1, 8], [8, 7, 6, 5, 4, 3, 2]])
def test_a_lens_is_fitted_the_same_whatever_stands_beside_it(
    detector: PhysicsDetector, lenses: ImageBatch, solved: Solution, others: list[int]
) -> None:
    """Bit by bit: all that differs between batches is kept from deciding anything."""
    alone = detector.examiner.look(take(lenses, np.array(others))).solved
    for item in fields(Fit):
        among, apart = getattr(solved.fitted, item.name), getattr(alone.fitted, item.name)
        assert torch.equal(among[others], apart), item.name


def test_images_that_are_done_are_left_alone(
    detector: PhysicsDetector, lenses: ImageBatch, solved: Solution
) -> None:
    """One that needs many steps does not move those beside it."""
    model = detector.examiner.model
    data = detector.examiner.unit.observe(model, lenses)
    start = solved.fitted.values.clone()
    start[0] += 5 * sigmas(detector, solved)[0].float()
    other = descend(
        model, data, start, detector.examiner.prior, amplitudes=solved.fitted.amplitudes
    ).fitted
    assert torch.equal(other.values[1:], solved.fitted.values[1:])
    assert not torch.equal(other.values[0], start[0])


def test_noise_that_the_training_images_lacked_is_not_used(
    detector: PhysicsDetector, lenses: ImageBatch
) -> None:
    """Noise was learned; to add a map to it would count it twice."""
    plain = LensImages.from_arrays(lenses.pixels[:2])
    mapped = LensImages.from_arrays(lenses.pixels[:2], noise=np.full((150, 150), 5.0))
    np.testing.assert_array_equal(detector.anomaly_score(plain), detector.anomaly_score(mapped))


def test_an_image_that_lacks_what_the_training_images_had_is_an_error(
    detector: PhysicsDetector, lenses: ImageBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert detector.learned is not None
    unit = replace(detector.learned.unit, noise_given=True, psf_given=True)
    monkeypatch.setattr(detector, "learned", replace(detector.learned, unit=unit))
    wanted = "no noise map and no PSF, which the training images had"
    bare = LensImages.from_arrays(lenses.pixels[:2])
    mapped = LensImages.from_arrays(lenses.pixels[:1], noise=np.full((150, 150), 1.0))
    assert detector.score(bare).error == [wanted] * 2
    assert detector.score(mapped).error == ["no PSF, which the training images had"]
    assert [one.error for one in detector.explain(bare)] == [wanted] * 2
    with pytest.raises(DataError, match=f"0: {wanted}"):
        detector.reconstruct(bare)


def test_fits_converge_from_the_middle_of_the_population(
    detector: PhysicsDetector, lenses: ImageBatch, solved: Solution
) -> None:
    """As far away as a fit can begin: the second start of poor fits, made for all here."""
    examiner = detector.examiner
    tolerant, exact = stages_of(examiner.model, examiner.shape)
    data = examiner.unit.observe(examiner.model, lenses)
    middle = examiner.prior.mean.expand(FEW, -1)
    near = fit(tolerant.model, data, middle, examiner.prior)
    other = fit(exact.model, data, near.values, examiner.prior)
    # Of a lens that ends elsewhere, the last digits decide whether it gets there in time.
    assert int(other.converged.sum()) >= FEW - 1
    higher = other.energy - solved.fitted.energy
    assert int((higher.abs() < 0.1).sum()) >= FEW - 1
    # One is in another valley, which is why the encoder's start comes first.
    assert float(higher.min()) > -0.1
