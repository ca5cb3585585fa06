"""Command line: one verb per public function, with the same names of options.

A verb imports its function when it is called, so that ``--help`` is fast.
"""

from lumpylens.cli import (  # noqa: F401 - each registers its verbs
    exchange,
    explanations,
    images,
    lenses,
    models,
    sets,
)
from lumpylens.cli.shell import app
from lumpylens.cli.shell import run as main

__all__ = ["app", "main"]
