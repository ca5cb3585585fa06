"""Errors of fitted lenses: known answers of a linear model, and truths of mocks within them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lumpylens.lenses.catalogue import LensRow
from lumpylens.lenses.measured import (
    measured_area,
    measured_mass,
    measured_perturber,
    mostly_prior,
    radius_error,
)
from lumpylens.lenses.model import ALL, INDEX, MULTIPOLES, PERTURBER, vector
from lumpylens.lenses.posterior import Posterior
from lumpylens.lenses.refine import Belief

PLACES = ("perturber_x_error_arcsec", "perturber_y_error_arcsec")
NAMES = (*ALL, *MULTIPOLES, *PERTURBER)
VALUES = vector(
    log_einstein_radius=math.log(1.3), eta_1=0.3, eta_2=-0.2, slope=2.1, shear_1=-0.05,
    shear_2=0.06, centre_x=0.02, centre_y=-0.03, light_x=0.01, light_y=0.005, m3_cosine=0.004,
    m4_sine=-0.006, perturber_x=0.9, perturber_y=0.4, perturber_strength=0.04,
)  # fmt: skip


class Lens:
    """Numbers by name."""

    def __init__(self, values):
        self.values = values

    def __getitem__(self, name):
        return float(self.values[INDEX[name]])


def gaussian(data_information, prior_spreads, inflation=1.0, values=VALUES):
    """Posterior of a linear model with this information from the data, and these priors."""
    stated = Belief({name: (0.0, spread) for name, spread in prior_spreads.items()})
    # A fit narrows the priors by the inflation, and takes the likelihood as it is.
    precision = torch.tensor(
        [(inflation / prior_spreads[name]) ** 2 if name in prior_spreads else 0.0 for name in NAMES]
    )
    information = data_information + torch.diag(precision.double())
    fitted = SimpleNamespace(names=NAMES, information=information, lens=Lens(values))
    return Posterior(fitted, stated, inflation)


@pytest.fixture
def information():
    """Information with strong correlations, and spreads from 1e-4 to 0.1."""
    random = torch.Generator().manual_seed(3)
    mixing = torch.randn(len(NAMES), 60, generator=random, dtype=torch.float64)
    spreads = torch.logspace(-4, -1, len(NAMES), dtype=torch.float64)
    spreads = spreads[torch.randperm(len(NAMES), generator=random)]
    return (mixing @ mixing.mT / 60) / spreads / spreads[:, None]


def test_the_covariance_is_that_of_a_tempered_likelihood_with_the_priors_as_stated(information):
    spreads = {"slope": 0.15, "shear_1": 0.08, "m3_cosine": 0.01}
    for inflation in (1.0, 1.7):
        fit = gaussian(information, spreads, inflation)
        prior = torch.diag(torch.tensor([spreads.get(n, math.inf) for n in NAMES]).double() ** -2)
        expected = torch.linalg.inv(information / inflation**2 + prior)
        assert torch.allclose(fit.covariance, expected, rtol=1e-4, atol=0)
        for name in ("slope", "perturber_x"):
            at = NAMES.index(name)
            assert fit.error(name) == pytest.approx(math.sqrt(expected[at, at]), rel=1e-4)


def test_a_linear_model_has_its_truths_within_the_errors(information):
    """Truths from the prior and noise as large as the inflation says: pulls of variance 1."""
    random = np.random.default_rng(5)
    spreads = dict.fromkeys(NAMES, 0.1)
    fit = gaussian(information, spreads, 1.5)
    root = np.linalg.cholesky(information.numpy())
    pulls = []
    for _ in range(400):
        truth = 0.1 * random.normal(size=len(NAMES))
        seen = information.numpy() @ truth + 1.5 * root @ random.normal(size=len(NAMES))
        best = fit.covariance.numpy() @ seen / 1.5**2
        pulls.append((best - truth) / np.array([fit.error(name) for name in NAMES]))
    within = np.abs(pulls)
    assert (within < 1).mean() == pytest.approx(0.683, abs=0.02)
    assert (within < 2).mean() == pytest.approx(0.954, abs=0.01)


def test_errors_of_columns_are_those_of_draws(information):
    """Every column with an error, against draws of its parameters."""
    fit = gaussian(1e4 * information, {})
    told = measured_mass(fit) | measured_area(fit) | measured_perturber(fit)
    random = np.random.default_rng(1)
    factor = np.linalg.cholesky(fit.covariance.numpy())
    drawn: dict[str, list[float]] = {}
    for _ in range(600):
        values = VALUES.clone()
        values[[INDEX[name] for name in NAMES]] += torch.from_numpy(
            factor @ random.normal(size=len(NAMES))
        )
        other = gaussian(1e4 * information, {}, values=values)
        lens = other.fitted.lens
        numbers = measured_mass(other) | measured_area(other)
        numbers |= {
            f"perturber_{axis}_arcsec": lens[f"perturber_{axis}"] - lens[f"light_{axis}"]
            for axis in "xy"
        }
        numbers["perturber_einstein_radius_arcsec"] = math.sqrt(lens["perturber_strength"])
        for name, value in numbers.items():
            drawn.setdefault(name, []).append(value)
    errors = {
        "einstein_radius_arcsec": "einstein_radius_err",
        **{
            name.replace("_error", "", 1): name for name in told if "_error" in name
        },
    }  # fmt: skip
    assert len(errors) == 16
    for column, error in errors.items():
        # What is not known of the perturber's profile comes on top.
        unknown = 0.01 if error in PLACES else 0.0
        assert math.hypot(np.std(drawn[column]), unknown) == pytest.approx(told[error], rel=0.1)
        assert error == "einstein_radius_err" or error in LensRow.__dataclass_fields__


def test_numbers_without_a_size_have_no_direction(information):
    round_one = VALUES.clone()
    round_one[[INDEX[name] for name in ("eta_1", "eta_2", "shear_1", "shear_2")]] = 0.0
    told = measured_mass(gaussian(information, {}, values=round_one))
    assert told["ellipticity_angle_error_deg"] == pytest.approx(180 / math.sqrt(12))
    assert told["shear_angle_error_deg"] == pytest.approx(180 / math.sqrt(12))
    assert math.isfinite(told["ellipticity_error"])


def test_a_perturber_without_mass_has_no_errors(information):
    none = VALUES.clone()
    none[INDEX["perturber_strength"]] = 0.0
    told = measured_perturber(gaussian(information, {}, values=none))
    assert all(map(math.isnan, told.values()))
    assert radius_error(0.04, 0.004) == pytest.approx(0.01)
    assert radius_error(1e-6, 0.01) == pytest.approx(0.1), "at most the root of the error"


def test_what_is_mostly_prior_is_named(information):
    spreads = {"slope": 1e-6, "shear_1": 1e-6, "shear_2": 1e-6, "m4_sine": 1e-6, "eta_1": 10.0,
               "eta_2": 10.0}  # fmt: skip
    fit = gaussian(information, spreads)
    assert fit.prior_share(["slope"]) == pytest.approx(1.0, abs=0.01)
    assert fit.prior_share(["eta_1", "eta_2"]) < 0.01
    assert fit.prior_share(["light_x"]) == 0.0
    assert mostly_prior(fit) == ["shear", "slope", "m4_sine"]
    assert mostly_prior(fit, "joint_") == ["joint_shear", "joint_slope", "joint_m4_sine"]
