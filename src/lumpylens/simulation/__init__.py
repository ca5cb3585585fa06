"""Images of lenses with known truth: populations, substructure, cameras."""

from lumpylens.simulation.images import Simulation, simulate, simulate_with_truth
from lumpylens.simulation.lens import Lens
from lumpylens.simulation.perturbers import Perturber
from lumpylens.simulation.populations import Population
from lumpylens.simulation.presets import POPULATIONS, population
from lumpylens.simulation.sources import Galaxies
from lumpylens.simulation.substructure import SUBSTRUCTURES, Substructure, substructure

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
