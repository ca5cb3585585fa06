"""Makes the notebook from its text form, and runs it: ``make notebook DATA=folder``.

The folder holds ``no_sub`` and ``sub``. What the notebook writes goes into a temporary folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

TEXT = Path(__file__).parent / "StrongLensingChallenge.py"
TIMEOUT_S = 4 * 3600


def execute(data: str | Path) -> nbformat.NotebookNode:
    """The notebook with its outputs.

    Raises
    ------
    CellExecutionError
        If a cell fails.
    """
    notebook = jupytext.read(TEXT)
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
    made = execute(sys.argv[1] if len(sys.argv) > 1 else "")
    jupytext.write(made, TEXT.with_suffix(".ipynb"))
