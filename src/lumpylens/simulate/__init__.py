"""Images of lenses with known truth: populations, substructure, cameras."""

from lumpylens.simulate.images import Simulation, simulate, simulate_with_truth
from lumpylens.simulate.lens import Lens
from lumpylens.simulate.perturbers import Perturber
from lumpylens.simulate.populations import Population
from lumpylens.simulate.presets import POPULATIONS, population
from lumpylens.simulate.sources import Galaxies
from lumpylens.simulate.substructure import SUBSTRUCTURES, Substructure, substructure

__all__ = [
    "POPULATIONS",
    "SUBSTRUCTURES",
    "Galaxies",
    "Lens",
    "Perturber",
    "Population",
    "Simulation",
    "Substructure",
    "population",
    "simulate",
    "simulate_with_truth",
    "substructure",
]
