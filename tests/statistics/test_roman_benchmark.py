"""The benchmark on lenses of the Roman Data Challenge: how it groups lenses."""

import numpy as np
import pytest
from scripts import script

from lumpylens.simulation import simulate_with_truth
from lumpylens.simulation.substructure import Substructure


def test_lenses_are_grouped_by_their_largest_subhalo():
    benchmark = script("roman")
    heavy = Substructure(profile="halo", count=3, mass_msun=(2e9, 3e9))
    mass = benchmark.largest_halo(simulate_with_truth("roman", 4, substructure=heavy))
    assert ((mass > 2e9) & (mass < 3e9)).all()
    found = {label: chosen.tolist() for label, chosen in benchmark.bins(mass).items()}
    assert [label for label, chosen in found.items() if any(chosen)] == ["1e9 to 10^9.5"]
    assert (
        np.sum(list(benchmark.bins(np.array([1e7, 5e8, 2e9, 1e10])).values()), axis=0).tolist()
        == [1] * 4
    )


def test_an_auc_leaves_out_images_without_a_score():
    benchmark = script("roman")
    assert benchmark.interval(np.array([0.0, np.nan]), np.array([1.0, 2.0]))[0] == 1
    assert benchmark.setting("mass_msun=[1e9,3e9]") == ("mass_msun", [1e9, 3e9])
    assert benchmark.shown([0.5, 0.4, 0.6]) == "0.500 (0.400 to 0.600)"
    assert benchmark.interval(np.arange(5.0), np.arange(5.0))[0] == pytest.approx(0.5)
