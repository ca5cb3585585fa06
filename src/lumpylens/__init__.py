"""Finds dark-matter substructure in strong-lensing images without being shown any.

Everything a user needs is here, and is loaded when it is first used::

    import lumpylens

    model = lumpylens.train("slc/no_sub", out="model")
    table = lumpylens.score(model, "my-images")

The public names and where they live stand in one list, ``__init__.pyi``.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("lumpylens")
