"""The bracket of the best possible AUC against exact answers."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from scipy.stats import multivariate_normal, norm
from scripts import script

from lumpylens.simulation import population
from lumpylens.simulation.substructure import substructure

bracket, signals = script("bracket"), script("signals")
LIMIT = Path(__file__).parents[2] / "benchmarks" / "limit.py"


def area(scores):
    lumpy, smooth = scores
    return float(bracket.areas_between([lumpy], [smooth])[0, 0])


def test_area_of_a_ratio_that_knows_the_lumps():
    random = np.random.default_rng(0)
    snr = np.array([[0.5], [3.0]])
    areas = bracket.known_lumps_areas(snr)
    assert areas[0, 0] == pytest.approx(norm.cdf(0.5 / math.sqrt(2)))
    lumpy = 0.5 * snr**2 + snr * random.standard_normal((2, 40_000))
    smooth = -0.5 * snr**2 + snr * random.standard_normal((2, 40_000))
    assert areas == pytest.approx(bracket.areas_between(lumpy, smooth), abs=0.007)


def test_area_of_a_lens_is_the_mean_over_its_draws():
    draws = np.array([1.0, 2.0])
    pairs = norm.cdf(0.5 * np.hypot(draws[:, None], draws))
    assert bracket.known_lumps_areas(draws[None])[0, 0] == pytest.approx(pairs.mean())


def test_areas_count_a_tie_as_half():
    areas = bracket.areas_between([np.array([0.0, 1.0])], [np.array([0.0, -1.0])])
    assert areas[0, 0] == (0.75 + 1.0) / 2


def test_pooled_area_is_over_pairs_of_two_lenses():
    areas = np.array([[1.0, 0.5, 0.7], [0.6, 1.0, 0.8], [0.9, 0.4, 1.0]])
    value, low, high = bracket.pooled(areas, seed=0)
    assert value == pytest.approx((0.5 + 0.7 + 0.6 + 0.8 + 0.9 + 0.4) / 6)
    assert low < value < high


def test_pooled_interval_holds_the_truth():
    random = np.random.default_rng(1)
    inside = []
    for _ in range(200):
        quality = random.normal(0.7, 0.1, 40)
        _, low, high = bracket.pooled(0.5 * (quality[:, None] + quality), seed=0, resamples=300)
        inside.append(low < 0.7 < high)
    assert 0.88 < np.mean(inside) < 0.99


def test_coordinates_keep_inner_products():
    random = np.random.default_rng(2)
    vectors = random.standard_normal((9, 30))
    train, test = np.array([0, 2, 3, 5, 8]), np.array([1, 4, 6, 7])
    inside, outside = bracket.coordinates(vectors @ vectors.T, train, test)
    assert inside @ inside.T == pytest.approx(vectors[train] @ vectors[train].T)
    assert outside @ inside.T == pytest.approx(vectors[test] @ vectors[train].T)
    # Only what lies in the space of the others is kept.
    basis, _ = np.linalg.qr(vectors[train].T)
    assert (outside**2).sum(axis=1) == pytest.approx(((vectors[test] @ basis) ** 2).sum(axis=1))


@pytest.mark.parametrize("width", [0.0, 0.6, 1.0])
def test_log_ratios_are_those_of_the_densities(width):
    random = np.random.default_rng(3)
    draws = random.standard_normal((7, 3)) * (2.0, 1.0, 0.3) + (1.0, 0.0, 0.5)
    data = 2 * random.standard_normal((5, 3))
    mean, covariance = draws.mean(axis=0), np.cov(draws.T)
    spread = np.eye(3) + width**2 * covariance
    kernels = [
        multivariate_normal(mean + math.sqrt(1 - width**2) * (draw - mean), spread).pdf(data)
        for draw in draws
    ]
    exact = np.log(np.mean(kernels, axis=0)) - multivariate_normal(np.zeros(3)).logpdf(data)
    assert bracket.log_ratios(data, draws, [width])[0] == pytest.approx(exact)


def test_scores_of_lumps_that_never_change_are_those_of_known_lumps():
    random = np.random.default_rng(4)
    draws = np.r_[2.0, np.zeros(49)] + 1e-3 * random.standard_normal((60, 50))
    scores = bracket.lens_scores(draws @ draws.T, random, 5, 60)
    for name in ("field", "mixture", "all"):
        assert area(scores[name]) == pytest.approx(norm.cdf(2 / math.sqrt(2)), abs=0.015)
    # There is nothing besides the mean change: all ratios are 1.
    for side in scores["grains"]:
        assert side == pytest.approx(0, abs=0.02)


def test_tried_draw_is_not_among_those_that_are_known():
    random = np.random.default_rng(5)
    # Signals of 5 sigma without anything in common.
    draws = 5 * np.eye(40)
    scores = bracket.lens_scores(draws @ draws.T, random, 10, 100)
    for name in ("field", "mixture", "all", "grains"):
        assert area(scores[name]) < 0.53


def test_field_is_found_as_the_best_detector_finds_it():
    random = np.random.default_rng(6)
    spread = np.array([4.0, 2.0, 1.0])
    draws = spread * random.standard_normal((200, 3))
    scores = bracket.lens_scores(draws @ draws.T, random, 5, 40)
    # The ratio of the true densities, on other draws.
    lumpy = random.standard_normal((40_000, 3)) * np.sqrt(1 + spread**2)
    smooth = random.standard_normal((40_000, 3))
    best = area([data**2 @ (1 - 1 / (1 + spread**2)) for data in (lumpy, smooth)])
    assert area(scores["field"]) == pytest.approx(best, abs=0.012)


@pytest.fixture(scope="module")
def euclid():
    with torch.no_grad():
        preset = population("euclid")
        return signals.smooth(preset, signals.population_spread(preset, 0), 0, 1), preset


def test_refit_of_a_smooth_lens_leaves_nothing(euclid):
    lens, preset = euclid
    place = torch.zeros(1, lens.population_axes)
    clean = signals.brightness(lens.lens, preset.size_px)
    with torch.no_grad():
        seen = lens.observe(clean[None])
        assert lens.linearise(place)[0] == pytest.approx(seen.numpy(), abs=1e-3)
        assert float(signals.refit(lens, seen).remains.norm()) < 0.01


def test_tangents_are_derivatives(euclid):
    lens, _ = euclid
    step = 0.01 * torch.eye(lens.population_axes)
    with torch.no_grad():
        _, tangents = lens.linearise(torch.zeros(1, lens.population_axes))
        slopes = (lens.linearise(step)[0] - lens.linearise(-step)[0]) / 0.02
    largest = tangents[0].norm(dim=1, keepdim=True)
    assert ((slopes - tangents[0]) / largest).norm(dim=1).numpy() == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("spread", [1.0, 0.02])
def test_refit_finds_the_lowest_energy(euclid, spread):
    lens, preset = euclid
    # In a narrower population the prior counts.
    lens = replace(lens, axes=spread * lens.axes)
    lumps = substructure("points-compensated")
    with torch.no_grad():
        clean = signals.lumpy_images(lens.lens, preset, lumps, 3, 0, 1)
        seen = lens.observe(clean)
        remains = signals.refit(lens, seen).remains.double().numpy()
        for image, left in zip(seen, remains, strict=True):

            def misfit(place, image=image):
                predicted, _ = lens.linearise(torch.tensor(place[None], dtype=torch.float32))
                return np.concatenate([(image - predicted[0]).double().numpy(), -place])

            def slopes(place):
                _, tangents = lens.linearise(torch.tensor(place[None], dtype=torch.float32))
                return np.vstack([-tangents[0].double().numpy().T, -np.eye(len(place))])

            best = least_squares(misfit, np.zeros(lens.population_axes), slopes)
            assert (left**2).sum() == pytest.approx(2 * best.cost, rel=0.01, abs=0.02)


def test_population_axes_leave_out_what_does_not_vary():
    spread = np.zeros((4, 4))
    spread[:3, :3] = [[4.0, 4.0, 0.0], [4.0, 4.0, 0.0], [0.0, 0.0, 0.01]]
    axes = signals.principal_axes(spread).numpy()
    assert axes.shape == (4, 2)
    assert axes @ axes.T == pytest.approx(spread, abs=1e-5)


@pytest.mark.slow
def test_script_writes_its_tables_and_keeps_what_is_done(tmp_path):
    command = [
        sys.executable, str(LIMIT), "--lenses", "2", "--draws", "24", "--out", str(tmp_path),
        "--sets", "euclid-points-compensated,slc-points-1-pc",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    first = (tmp_path / "limit.json").read_text()
    rows = json.loads(first)["rows"]
    assert [row["population"] for row in rows] == ["euclid", "slc"]
    for row in rows:
        assert 0.4 < row["lower"][0] <= row["upper"][0] <= 1
        assert row["checks"]["no_lumps"] < 0.01
        assert abs(row["checks"]["noisy_bias"]) < 0.3
    table = (tmp_path / "limit.md").read_text()
    assert "| slc | points 1 % |" in table
    assert "Made by `python benchmarks/limit.py --lenses 2 --draws 24" in table
    # A second run only writes the tables.
    kept = tmp_path / "runs" / "limit" / "slc-points-1-pc-2-24-0.json"
    kept.write_text(kept.read_text().replace('"slc"', '"as kept"'))
    subprocess.run(command, check=True)
    assert "as kept" in (tmp_path / "limit.json").read_text()
