"""Puts the meaning of every column of the lens catalogue into its page.

``python docs/columns.py`` writes it (``make columns``); with ``--check`` it writes nothing and
exits with 1 if what stands there is not current.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lumpylens.lenses.catalogue import MEANINGS

PAGE = Path(__file__).parent / "real-lenses.md"
BEGIN, END = "<!-- columns: begin -->", "<!-- columns: end -->"


def table() -> str:
    """One line for each column, in the order of the file."""
    lines = [f"| `{name}` | {meaning} |" for name, meaning in MEANINGS.items()]
    return "\n".join(["| column | meaning |", "|---|---|", *lines])


def main(check: bool) -> str:
    """Write the page, or say that it is not current; an empty string if all is well."""
    page = PAGE.read_text(encoding="utf-8")
    if BEGIN not in page or END not in page:
        return f"{PAGE.name} has no place for the columns: put {BEGIN} and {END} in it"
    before, _, rest = page.partition(BEGIN)
    written = f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"
    if written == page:
        return ""
    if check:
        return f"the columns in {PAGE.name} are not current: run make columns"
    PAGE.write_text(written, encoding="utf-8")
    return ""


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]) or 0)
