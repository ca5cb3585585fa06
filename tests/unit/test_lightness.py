"""What is loaded when: imports and help answer at once, heavy packages wait until used."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import lumpylens

HEAVY = ("torch", "lightning", "pytorch_lightning", "matplotlib", "caustics", "dask", "sklearn",
         "scipy", "astropy", "h5py", "numba", "pandas")  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Heavy packages that a fresh Python has loaded after running `code`."""
    script = f"import sys\n{code}\nprint(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import lumpylens",
        "import lumpylens; dir(lumpylens); lumpylens.__version__; lumpylens.LensImages",
        "import lumpylens; assert 'pca' in lumpylens.list_detectors()",
        "import lumpylens.cli",
        "import lumpylens; lumpylens.train; lumpylens.score; lumpylens.load_model; lumpylens.fit",
    ],
)
def test_importing_is_light(code):
    assert loaded_by(code) == set()


def test_help_is_light():
    code = "sys.argv = ['lumpylens', 'train', '--help']\nimport lumpylens.cli\n"
    code += "try: lumpylens.cli.main()\nexcept SystemExit as done: assert not done.code"
    assert loaded_by(code) == set()


def test_every_public_name_is_there():
    assert len(lumpylens.__all__) <= 25
    assert sorted(lumpylens.__all__) == lumpylens.__all__
    for name in lumpylens.__all__:
        assert getattr(lumpylens, name) is not None
        assert name in dir(lumpylens)


def test_no_public_name_is_that_of_a_module():
    # importing the module would put it in the place of the function
    modules = {module.name for module in pkgutil.iter_modules(lumpylens.__path__)}
    assert "verbs" in modules
    assert modules.isdisjoint(lumpylens.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute trian"):
        lumpylens.trian  # noqa: B018
