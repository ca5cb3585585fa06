"""Detectors of substructure, and the one list of them: those that ship, and those of others.

A detector of somebody else's is named like those that ship if an installed package has an entry
point for it in the group ``lumpylens.detectors``. Any other class is named ``module:Class``.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from lumpylens.detectors.base import Detector
from lumpylens.detectors.outcome import BatchScores, Scores
from lumpylens.detectors.settings import DetectorConfig
from lumpylens.errors import DataWarning, ModelError
from lumpylens.training.run import Run

__all__ = [
    "DETECTORS",
    "BatchScores",
    "Detector",
    "DetectorConfig",
    "Run",
    "Scores",
    "class_in_file",
    "create",
    "detector_class",
    "installed_detectors",
    "list_detectors",
    "name_for_file",
    "user_module",
]

DETECTORS = {
    "physics": "lumpylens.detectors.physics.detector:PhysicsDetector",
    "encoder": "lumpylens.detectors.encoder.detector:EncoderDetector",
    "pixel": "lumpylens.detectors.pixel.detector:PixelDetector",
    "pca": "lumpylens.detectors.pca:PCADetector",
    "dcae": "lumpylens.detectors.paper.dcae:DCAEDetector",
    "vae": "lumpylens.detectors.paper.vae:VAEDetector",
    "aae": "lumpylens.detectors.paper.aae:AAEDetector",
    "rbm": "lumpylens.detectors.paper.rbm:RBMDetector",
    "ocsvm": "lumpylens.detectors.ocsvm:OCSVMDetector",
}
"""Name -> module:class of those that ship. Imported when asked for: torch takes seconds."""

GROUP = "lumpylens.detectors"
"""Of the entry points by which an installed package offers detectors."""
REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""``module:Class``; the module may lie in packages, the class in no other class or function."""


def list_detectors() -> list[str]:
    """Names of the detectors that ship, then of those of installed packages; none is imported.

    Examples
    --------
    >>> list_detectors()[:4]
    ['physics', 'encoder', 'pixel', 'pca']
    """
    return [*DETECTORS, *installed_detectors()]


def installed_detectors() -> dict[str, EntryPoint]:
    """Detectors of installed packages, by name; without those whose name one that ships has."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: point for point in points if point.name not in DETECTORS}


def create(name: str, **settings: Any) -> Detector:
    """Make an untrained detector.

    Parameters
    ----------
    name : str
        One of `list_detectors`, or ``module:Class``.
    **settings
        Of the detector, instead of its defaults.

    Raises
    ------
    ModelError
        If there is no such detector, or it has no such setting.

    Examples
    --------
    >>> create("pca", max_components=20).config.max_components
    20
    """
    return detector_class(name)(**settings)


def detector_class(name: str) -> type[Detector]:
    """Class of the detector that a user names; its module is imported.

    Parameters
    ----------
    name : str
        One of `list_detectors`, or ``module:Class``.

    Raises
    ------
    ModelError
        If there is none, with the nearest name, or if it cannot be imported or is no detector.
    """
    points = _points_called(name)
    if name in DETECTORS:
        for point in points:
            warnings.warn(
                DataWarning(
                    f"{name} is the detector that comes with lumpylens; the one of that name in "
                    f"the package {_package(point)} is called {point.value}"
                ),
                stacklevel=2,
            )
        return _imported(DETECTORS[name])
    if len(points) > 1:
        raise ModelError(
            f"the packages {' and '.join(map(_package, points))} both have a detector called "
            f"{name}; name one as {' or '.join(point.value for point in points)}"
        )
    if points:
        return _of_entry_point(points[0])
    if REFERENCE.fullmatch(name):
        return _imported(name)
    if ":" in name:
        raise ModelError(f"{name!r} is not of the form module:Class")
    names = list_detectors()
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ModelError(
        f"no detector called {name!r}{hint} (known: {', '.join(names)}; one of your own is "
        "module:Class)"
    )


def class_in_file(name: str) -> type[Detector]:
    """Class of the detector that a file names; imports nothing but what ships or is installed.

    Files come from strangers. A ``module:Class`` in one is looked up among the detectors that
    this process has defined already, because its user imported or named them, and nowhere else.

    Parameters
    ----------
    name : str
        What `name_for_file` gave.

    Raises
    ------
    ModelError
        If it names nothing of that kind, with what to do about it.
    """
    if name in list_detectors():
        return detector_class(name)
    for point in installed_detectors().values():
        if point.value == name:
            return _of_entry_point(point)
    # a class that was defined again, as in a notebook, comes last
    same = [kind for kind in _defined(Detector) if _reference(kind) == name]
    if same:
        return _checked(same[-1])
    module = name.partition(":")[0]
    if not REFERENCE.fullmatch(name):
        raise ModelError(f"there is none of that name (known: {', '.join(list_detectors())})")
    if module == "__main__":
        raise ModelError("a class of the script or notebook that trained it; define it here first")
    raise ModelError(
        "nothing is imported because a model says so; if you trust that code, import it first "
        f"(in Python: import {module}; else: lumpylens --import {module} ...)"
    )


def name_for_file(kind: type[Detector]) -> str:
    """By what name `class_in_file` finds a class again: its own, or ``module:Class``.

    Raises
    ------
    ModelError
        If it can have none, since it was defined within a function.
    """
    reference = _reference(kind)
    if DETECTORS.get(kind.name) == reference:
        return kind.name
    # a class that came from an entry point is in its module, which then has been imported
    if any(
        getattr(sys.modules.get(point.module), point.attr, None) is kind
        for point in _points_called(kind.name)
    ):
        return kind.name
    if not REFERENCE.fullmatch(reference):
        raise ModelError(
            f"the class {reference} cannot be found again by its name; define it at the top level "
            "of a module"
        )
    return reference


def user_module(name: str) -> ModuleType:
    """Import a module that the user named.

    Raises
    ------
    ModelError
        If that fails, in one line.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name is not None and f"{name}.".startswith(f"{problem.name}."):
            raise ModelError(
                f"no module called {problem.name}: install it, or go to the folder that holds it"
            ) from None
        raise ModelError(f"cannot import {name}: {problem}") from problem
    except Exception as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        raise ModelError(f"cannot import {name}: {reason}") from problem


def _of_entry_point(point: EntryPoint) -> type[Detector]:
    """Class of an installed package, which must bear the name that the package gives it."""
    try:
        kind = _imported(point.value)
    except ModelError as problem:
        raise ModelError(
            f"detector {point.name} of the package {_package(point)}: {problem}"
        ) from problem
    if kind.name != point.name:
        raise ModelError(
            f"the package {_package(point)} offers a detector as {point.name}, but it calls itself "
            f"{kind.name}; give both one name, or name it as {point.value}"
        )
    return kind


def _imported(reference: str) -> type[Detector]:
    """The class that ``module:Class`` names, if it is a whole detector."""
    if not REFERENCE.fullmatch(reference):
        raise ModelError(f"{reference!r} is not of the form module:Class")
    module, _, attribute = reference.partition(":")
    try:
        kind = getattr(user_module(module), attribute)
    except AttributeError:
        raise ModelError(f"the module {module} has no {attribute}") from None
    if not (isinstance(kind, type) and issubclass(kind, Detector)):
        raise ModelError(f"{reference} is no subclass of lumpylens.Detector")
    return _checked(kind)


def _checked(kind: type[Detector]) -> type[Detector]:
    """The same class, if it is a whole detector."""
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise ModelError(f"{_reference(kind)} is not a whole detector: it lacks {missing}")
    if not isinstance(getattr(kind, "name", None), str):
        raise ModelError(
            f"{_reference(kind)} needs a name: a class attribute such as name = 'halo'"
        )
    return kind


def _defined(kind: type[Any]) -> Iterator[type[Detector]]:
    """All subclasses that this process has defined, in the order of definition."""
    for below in kind.__subclasses__():
        yield below
        yield from _defined(below)


def _reference(kind: type[Detector]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _points_called(name: str) -> list[EntryPoint]:
    return [point for point in entry_points(group=GROUP) if point.name == name]


def _package(point: EntryPoint) -> str:
    return "(unknown)" if point.dist is None else point.dist.name
