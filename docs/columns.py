"""Puts the meaning of every column of the tables of real lenses into their pages.

``python docs/columns.py`` writes it (``make columns``); with ``--check`` it writes nothing and
exits with 1 if what stands there is not current.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from lumpylens.lenses.catalogue import LensCatalogue
from lumpylens.lenses.sensitivity_table import SensitivityTable

DOCS = Path(__file__).parent
PAGES = {
    DOCS / "real-lenses.md": LensCatalogue.meanings,
    DOCS / "sensitivity.md": SensitivityTable.meanings,
}
BEGIN, END = "<!-- columns: begin -->", "<!-- columns: end -->"


def table(meanings: Mapping[str, str]) -> str:
    """One line for each column, in the order of the file."""
    lines = [f"| `{name}` | {meaning} |" for name, meaning in meanings.items()]
    return "\n".join(["| column | meaning |", "|---|---|", *lines])


def update(path: Path, meanings: Mapping[str, str], check: bool) -> str:
    """Write one page, or say that it is not current; an empty string if all is well."""
    page = path.read_text(encoding="utf-8")
    if BEGIN not in page or END not in page:
        return f"{path.name} has no place for the columns: put {BEGIN} and {END} in it"
    before, _, rest = page.partition(BEGIN)
    written = f"{before}{BEGIN}\n\n{table(meanings)}\n\n{END}{rest.partition(END)[2]}"
    if written == page:
        return ""
    if check:
        return f"the columns in {path.name} are not current: run make columns"
    path.write_text(written, encoding="utf-8")
    return ""


def main(check: bool) -> str:
    """Write all pages, or say which are not current; an empty string if all is well."""
    told = (update(path, meanings, check) for path, meanings in PAGES.items())
    return "; ".join(filter(None, told))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]) or 0)
