"""Finds dark-matter substructure in strong-lensing images without being shown any.

Everything a user needs is here, and is loaded when it is first used::

    import lumpylens

    model = lumpylens.train("slc/no_sub", out="model")
    table = lumpylens.score(model, "my-images")
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lumpylens.benchmark import benchmark
    from lumpylens.data.fetch import fetch
    from lumpylens.data.images import LensImages
    from lumpylens.demo import demo
    from lumpylens.detectors import Detector, create
    from lumpylens.errors import DataError, LumpylensError, ModelError
    from lumpylens.evaluate import evaluate
    from lumpylens.explain import explain
    from lumpylens.export import export
    from lumpylens.fit import fit
    from lumpylens.score import score
    from lumpylens.scores import ScoreTable
    from lumpylens.simulate import simulate
    from lumpylens.store import TrainedModel, load_model, save_model
    from lumpylens.train import train

__all__ = [
    "DataError",
    "Detector",
    "LensImages",
    "LumpylensError",
    "ModelError",
    "ScoreTable",
    "TrainedModel",
    "benchmark",
    "create",
    "demo",
    "evaluate",
    "explain",
    "export",
    "fetch",
    "fit",
    "load_model",
    "save_model",
    "score",
    "simulate",
    "train",
]

_HOMES = {
    "DataError": "errors",
    "Detector": "detectors",
    "LensImages": "data.images",
    "LumpylensError": "errors",
    "ModelError": "errors",
    "ScoreTable": "scores",
    "TrainedModel": "store",
    "benchmark": "benchmark",
    "create": "detectors",
    "demo": "demo",
    "evaluate": "evaluate",
    "explain": "explain",
    "export": "export",
    "fetch": "data.fetch",
    "fit": "fit",
    "load_model": "store",
    "save_model": "store",
    "score": "score",
    "simulate": "simulate",
    "train": "train",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("lumpylens")
    if name not in _HOMES:
        raise AttributeError(f"module 'lumpylens' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lumpylens.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


class _Package(ModuleType):
    """Keeps the verb where a verb and its module share a name.

    Importing ``lumpylens.train`` would otherwise bind the module in place of the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
