"""``python -m lumpylens.cli``."""

from lumpylens.cli.shell import run

run()
