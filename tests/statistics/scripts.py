"""The scripts of `benchmarks`, whose functions tests try on a small scale."""

import importlib.util
import sys
from pathlib import Path


def script(name):
    """One of them, as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module
