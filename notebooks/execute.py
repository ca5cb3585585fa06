"""Makes notebooks from their text form, and runs them: ``make notebook DATA=folder LENSES=folder``.

DATA holds ``no_sub`` and ``sub``, LENSES one folder per real lens. What a notebook writes goes into a
temporary folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
TIMEOUT_S = 4 * 3600


def execute(text: Path, data: str | Path) -> nbformat.NotebookNode:
    """The notebook of a text form, with its outputs.

    Raises
    ------
    CellExecutionError
        If a cell fails.
    """
    notebook = jupytext.read(text)
    os.environ["LUMPYLENS_NOTEBOOK_DATA"] = str(Path(data).resolve()) if data else ""
    with tempfile.TemporaryDirectory() as work:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT_S,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": work}},
        )
        client.execute()
    return notebook


if __name__ == "__main__":
    name, *data = sys.argv[1:]
    text = FOLDER / f"{name}.py"
    jupytext.write(execute(text, data[0] if data else ""), text.with_suffix(".ipynb"))
