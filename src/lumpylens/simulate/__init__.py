"""Images of lenses with known truth: populations, substructure, cameras."""

from lumpylens.simulate.images import Simulation, simulate, simulate_with_truth
from lumpylens.simulate.lens import Lens
from lumpylens.simulate.populations import POPULATIONS, Population, population
from lumpylens.simulate.substructure import SUBSTRUCTURES, Substructure, substructure

__all__ = [
    "POPULATIONS",
    "SUBSTRUCTURES",
    "Lens",
    "Population",
    "Simulation",
    "Substructure",
    "population",
    "simulate",
    "simulate_with_truth",
    "substructure",
]
