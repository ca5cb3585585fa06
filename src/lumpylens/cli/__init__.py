"""The command line: one verb per public function, in the same words.

A verb imports what it needs when it is called, so that ``--help`` answers at once.
"""

from lumpylens.cli import (  # noqa: F401 - each registers its verbs
    exchange,
    explanations,
    images,
    lenses,
    models,
)
from lumpylens.cli.shell import app
from lumpylens.cli.shell import run as main

__all__ = ["app", "main"]
