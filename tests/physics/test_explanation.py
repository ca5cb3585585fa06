"""Maps of the `physics` detector: noise has unit variance, and a planted mass is where it is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lumpylens.data.images import LensImages
from lumpylens.detectors.physics.detector import PhysicsDetector
from lumpylens.detectors.physics.examination import POSITIONS
from lumpylens.detectors.physics.explain import REACH, SPACING, perturbation_maps
from lumpylens.physics.perturbation import Perturbers
from lumpylens.physics.spectrum import UNSEEN
from lumpylens.results.explanation import Explanation
from lumpylens.simulation import simulate
from lumpylens.simulation.substructure import Substructure
from lumpylens.store.folder import load_model

CENTRE_PX = 74.5


@pytest.fixture(scope="module")
def detector() -> PhysicsDetector:
    return load_model("slc-physics").detector


@pytest.fixture(scope="module")
def smooth(detector: PhysicsDetector) -> list[Explanation]:
    return detector.explain(simulate("slc", 6, seed=31))


def spread(picture: np.ndarray) -> float:
    """Half of the range of the middle 68 %: the standard deviation of Gaussian noise."""
    low, high = np.nanpercentile(picture, [16, 84])
    return float(high - low) / 2


def test_under_noise_the_maps_have_unit_variance(
    real_data: Path, detector: PhysicsDetector
) -> None:
    images = LensImages.open(real_data / "slc" / "lenses" / "no_sub")[::900]
    found = detector.explain(images)
    for pictures in ([one.residual for one in found], [one.maps[0].values for one in found]):
        assert 0.7 < np.median([spread(picture) for picture in pictures]) < 1.2


def test_smooth_lenses_are_like_the_population(smooth: list[Explanation]) -> None:
    sigma = np.array([[each.sigma for each in one.surprises] for one in smooth])
    assert 0.7 < np.sqrt(np.square(sigma).mean()) < 1.4
    calm = [one for one in smooth if "no clump of mass stands out" in one.sentence]
    assert len(calm) >= 4


@pytest.mark.parametrize("at_px", [(20.0, 0.0), pytest.param((0.0, -20.0), marks=pytest.mark.slow)])
def test_a_planted_mass_is_where_it_is(
    detector: PhysicsDetector, at_px: tuple[float, float]
) -> None:
    # 0.5 % of the lens's mass
    lump = Substructure(count=1, einstein_radius_px=1.4, at_px=at_px)
    found = detector.explain(simulate("slc", 4, seed=5, substructure=lump))
    clear = [one.peak for one in found if one.peak and one.scores[3].p_value <= 0.01]
    assert len(clear) >= 2
    away = [
        np.hypot(peak.column_px - CENTRE_PX - at_px[0], peak.row_px - CENTRE_PX - at_px[1])
        for peak in clear
    ]
    assert np.median(away) < 3


def test_the_smallest_mass_seen_grows_away_from_the_arcs(smooth: list[Explanation]) -> None:
    for one in smooth:
        smallest = one.maps[1].values
        assert np.nanmin(smallest) > 0
        assert np.nanmax(smallest) > 5 * np.nanmin(smallest)


def test_scores_are_those_of_the_detector(
    detector: PhysicsDetector, smooth: list[Explanation]
) -> None:
    images = simulate("slc", 3, seed=31)
    scores = detector.score(images)
    for k, one in enumerate(smooth[:3]):
        assert one.scores[0].value == pytest.approx(scores.anomaly_score[k], rel=1e-4)
        for part in one.scores[1:]:
            assert part.value == pytest.approx(scores.components[part.name][k], rel=1e-3, abs=1e-3)


def test_no_part_is_rarer_than_the_normal_images_can_tell(smooth: list[Explanation]) -> None:
    """The tails were learned from the 3,117 images of the training part."""
    for one in smooth:
        known = [part for part in one.scores if np.isfinite(part.p_value)]
        assert len(known) == 4
        assert {part.smallest_p_value for part in known} == {1 / 3118}


def test_mass_is_the_reason_given_for_a_massive_lens(detector: PhysicsDetector) -> None:
    heavy = detector.explain(simulate("slc", 1, seed=8, substructure="points"))[0]
    assert heavy.sentence.startswith("Einstein radius 1.")
    assert "px above the population" in heavy.sentence
    assert heavy.surprises[0].parameter == "Einstein radius"
    assert heavy.surprises[0].sigma > 10


def test_one_explanation_is_one_fit(
    detector: PhysicsDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one filter for each position: those of the score are not filtered again and again."""
    from lumpylens.detectors.physics import examination as physics_examination
    from lumpylens.physics import perturbation

    fits, positions = [], []
    fit, respond = physics_examination.staged_fit, perturbation.perturber_responses

    def counted_fit(*given, **settings):
        fits.append(1)
        return fit(*given, **settings)

    def counted_responses(*given):
        perturbers = next(argument for argument in given if isinstance(argument, Perturbers))
        positions.append(perturbers.x.shape[1])
        return respond(*given)

    monkeypatch.setattr(physics_examination, "staged_fit", counted_fit)
    monkeypatch.setattr(perturbation, "perturber_responses", counted_responses)
    detector.explain(simulate("slc", 1, seed=5))
    assert len(fits) == 1
    assert positions[0] == POSITIONS
    drawn = math.pi * (REACH / SPACING) ** 2
    assert sum(positions[1:]) == pytest.approx(drawn, rel=0.05)


@torch.no_grad()
def test_maps_allow_for_what_errors_of_the_model_mimic(detector: PhysicsDetector) -> None:
    """Their variance grows with the square of the scale of these errors."""
    examiner = detector.examiner
    seen = examiner.look(simulate("slc", 1, seed=5).stack())
    scored = seen.signals(examiner.positions(seen.solved.fitted))
    none, once, twice = (
        perturbation_maps(examiner.radius, error, seen, scored).error for error in (0.0, 1.0, 2.0)
    )
    known = np.isfinite(none)
    grown = [np.square(one[known] / none[known]) - 1 for one in (once, twice)]
    assert np.median(grown[0]) > 0.1
    np.testing.assert_allclose(grown[1], 4 * grown[0], rtol=1e-3, atol=1e-6)


@torch.no_grad()
def test_positions_describe_all_but_a_twentieth_of_the_signals_of_lumps(
    detector: PhysicsDetector,
) -> None:
    """Of lumps at random places that are spread like them."""
    examiner = detector.examiner
    seen = examiner.look(simulate("slc", 16, seed=77).stack())
    scored = seen.signals(examiner.positions(seen.solved.fitted))
    radius = seen.solved.fitted.values[:, :1].exp()
    distance, turn = torch.rand(2, 16, 200, generator=torch.Generator().manual_seed(1))
    x, y = (radius * distance * part for part in ((6.28 * turn).cos(), (6.28 * turn).sin()))
    lumps = seen.signals(Perturbers(x, y))
    power, axes = torch.linalg.eigh(seen.covariance(scored, scored))
    along = (axes.mT @ seen.covariance(scored, lumps)).square()
    told = power > 1e-7 * power[:, -1:]
    described = (along / power[..., None]).masked_fill(~told[..., None], 0).sum(dim=(1, 2))
    unseen = 1 - described / seen.variance(lumps).sum(dim=1)
    assert float(unseen.mean()) == pytest.approx(UNSEEN, rel=0.3)
