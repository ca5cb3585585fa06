"""``python -m lumpylens``: the command line."""

from lumpylens.cli import main

main()
