"""The benchmark of detail in sources, on few lenses."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch
from scripts import script

from lumpylens.physics.batches import unsplit


@pytest.mark.slow
def test_shapelets_leave_less_of_galaxies_than_a_sersic_profile(tmp_path):
    benchmark = script("source_detail")
    given = Namespace(population="roman", n=12, n_learn=12, seed=1, kinds="points 8 %")
    with unsplit(), torch.no_grad():
        found = benchmark.compare(tmp_path, given)
        again = benchmark.compare(tmp_path, given)
    assert again == found
    sersic, shapelets = found["sersic"], found["shapelets"]
    # The benchmark has 1.33 and 1.00, and 0.46 and 0.06, for 150 lenses.
    assert shapelets["chi2_smooth"] < sersic["chi2_smooth"] - 0.05
    assert shapelets["error_px2"] < 0.5 * sersic["error_px2"]
    assert len(found["spread"]) == 6
    assert set(sersic["auc"]) == {"points 8 %"}
