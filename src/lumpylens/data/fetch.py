"""The challenge's images: downloaded, checked to be the right ones, and put in place whole."""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lumpylens.data.archive import LARGEST_TOTAL_BYTES, unpack
from lumpylens.data.readers.files import find_files
from lumpylens.errors import DataError
from lumpylens.files.digests import digest_of, digest_of_file

__all__ = ["DATA_SETS", "DataSet", "content_digest", "data_set", "fetch", "fetch_data_set"]

DATA_SETS = ("slc",)
"""Each is described by a TOML file of this name beside this module."""

PICTURES = (".jpg", ".jpeg", ".png")
TIMEOUT_S = 30.0
"""Longest silence of a server."""
RETRIES = 2
"""Further attempts at a download that failed."""
CHUNK_BYTES = 2**16


@dataclass(frozen=True)
class DataSet:
    """What a download must turn out to be.

    Attributes
    ----------
    name, title : str
    url : str
        Archive of the public repository.
    counts : mapping of str to int
        Number of images by class folder.
    digest : str
        `content_digest` of the images.
    """

    name: str
    title: str
    url: str
    counts: Mapping[str, int]
    digest: str

    def place(self, parts: tuple[str, ...]) -> str | None:
        """Where a file belongs that lies in a folder named after a class; None for others."""
        if len(parts) < 2 or parts[-2] not in self.counts or parts[-1].startswith("."):
            return None
        return f"{parts[-2]}/{parts[-1]}" if parts[-1].lower().endswith(PICTURES) else None

    def defect(self, folder: Path) -> str:
        """Say why a folder does not hold exactly these images, or return an empty string."""
        files = image_files(self, folder)
        if len({path.parent.parent for path in files.values()}) > 1:
            return "the class folders are not in one folder"
        counts = Counter(name.split("/")[0] for name in files)
        for kind, count in self.counts.items():
            if counts[kind] != count:
                return f"{counts[kind]} images in {kind} where {count} are expected"
        if content_digest(files) != self.digest:
            return "the number of images is right but their content differs"
        return ""


def data_set(name: str) -> DataSet:
    """Description of a data set, as shipped with the package.

    Raises
    ------
    DataError
        If there is none of this name.
    """
    if name not in DATA_SETS:
        raise DataError(f"no data set is called {name!r}; known: {', '.join(DATA_SETS)}")
    text = resources.files("lumpylens.data").joinpath(f"{name}.toml").read_text("utf-8")
    return DataSet(name=name, **tomllib.loads(text))


def fetch(
    name: str = "slc",
    *,
    out: str | Path | None = None,
    source: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Get the challenge's images, once.

    Parameters
    ----------
    name : str
        ``slc``: the Strong Lensing Challenge, 4500 + 4500 JPEG images.
    out : str or Path, optional
        Folder to make. Default: a folder of the user's cache.
    source : str or Path, optional
        URL of a mirror, or a folder, zip or tar.gz file, in place of the public repository.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    Path
        Folder with ``no_sub`` and ``sub``, whose number and content are checked. One that is
        already there is checked and returned.

    Raises
    ------
    DataError
        If the images cannot be had or are not the right ones; then no folder is left.
    """
    wanted = data_set(name)
    if out is None:
        import pooch

        out = Path(pooch.os_cache("lumpylens")) / name
    return fetch_data_set(wanted, Path(out), source=source, progress=progress)


def fetch_data_set(
    wanted: DataSet,
    target: Path,
    *,
    source: str | Path | None = None,
    progress: bool = True,
    timeout_s: float = TIMEOUT_S,
    retries: int = RETRIES,
) -> Path:
    """Download any data set, check it and put it in place, as `fetch` does.

    Parameters
    ----------
    wanted : DataSet
    target : Path
    source : str or Path, optional
    progress : bool
    timeout_s : float
        Longest silence of the server.
    retries : int
        How often a download is started again.
    """
    target = target.expanduser().resolve()
    if target.is_file():
        raise DataError(f"{target} is a file; give a folder with --out")
    try:
        if target.is_dir() and any(target.iterdir()):
            return _accept(wanted, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True
        ) as work:
            images = Path(work) / "images"
            images.mkdir()
            origin = str(source or wanted.url)
            _collect(wanted, origin, images, progress, timeout_s, retries)
            if reason := wanted.defect(images):
                raise DataError(
                    f"{origin} does not give {wanted.title}: {reason}; try again, or name another "
                    "copy with --from"
                )
            return _put(wanted, images, target)
    except OSError as problem:
        place = problem.filename or target
        raise DataError(f"cannot read or write {place}: {problem.strerror or problem}") from problem


def _accept(wanted: DataSet, target: Path) -> Path:
    """Return a folder that is already there, if it is right."""
    if reason := wanted.defect(target):
        raise DataError(
            f"{target} exists and is not {wanted.title}: {reason}; remove it or give another --out"
        )
    # In a clone of the repository, say, the class folders lie deeper.
    return next(iter(image_files(wanted, target).values())).parent.parent


def _put(wanted: DataSet, images: Path, target: Path) -> Path:
    """Rename the finished folder; another process may have been faster."""
    try:
        if target.is_dir():
            target.rmdir()
        images.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        return _accept(wanted, target)
    return target


def _collect(
    wanted: DataSet, origin: str, images: Path, progress: bool, timeout_s: float, retries: int
) -> None:
    """Bring the images into an empty folder, from wherever they are."""
    remote = origin.startswith(("http://", "https://"))
    is_file_url = origin.startswith("file://")
    local = Path(unquote(origin[7:]) if is_file_url else origin).expanduser()
    if not remote and not local.exists():
        raise DataError(f"no such file or folder, and no http address: {origin}")
    if not remote and local.is_dir():
        for name, path in image_files(wanted, local).items():
            (images / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, images / name)
        return
    try:
        archive = (
            _download(origin, images.parent, progress, timeout_s, retries) if remote else local
        )
        unpack(archive, images, wanted.place)
    except FileExistsError as problem:
        raise DataError(f"{origin} holds an image twice: {problem.filename}") from None
    except DataError as problem:
        raise DataError(
            f"{origin}: {problem}; try again, or name another copy with --from"
        ) from None


def image_files(wanted: DataSet, folder: Path) -> dict[str, Path]:
    """Images of a folder by their place in the data set."""
    files: dict[str, Path] = {}
    for path in find_files(folder)[0]:
        name = wanted.place(path.relative_to(folder).parts)
        if name is not None and name in files:
            raise DataError(f"{folder} holds {name} twice: {files[name]} and {path}")
        if name is not None:
            files[name] = path
    return files


def content_digest(files: Mapping[str, Path]) -> str:
    """SHA-256 over the sorted lines ``NAME SHA256`` of all files.

    Parameters
    ----------
    files : mapping of str to Path
        Path of each file by its name in the data set.
    """
    return digest_of(*(f"{name} {digest_of_file(files[name])}\n" for name in sorted(files)))


def _download(url: str, folder: Path, progress: bool, timeout_s: float, retries: int) -> Path:
    """Download with pooch, which starts again after a failure and leaves no partial file."""
    import pooch
    import requests

    def get(address: str, output: str, _: Any) -> None:
        with (
            requests.get(address, stream=True, timeout=timeout_s) as response,
            Path(output).open("wb") as stream,
            _download_bar(progress) as report,
        ):
            response.raise_for_status()
            length = response.headers.get("Content-Length", "")
            announced = int(length) if length.isdigit() else 0
            _refuse_if_absurd(announced)
            written = 0
            for chunk in response.iter_content(CHUNK_BYTES):
                written += len(chunk)
                _refuse_if_absurd(written)
                stream.write(chunk)
                report(written, announced or None)

    keeper = pooch.create(
        path=folder,
        base_url="",
        registry={"archive": None},
        urls={"archive": url},
        retry_if_failed=retries,
    )
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        return Path(keeper.fetch("archive", downloader=get))
    except requests.exceptions.RequestException as problem:
        raise DataError(_why(problem, timeout_s)) from None
    finally:
        logger.setLevel(level)


def _refuse_if_absurd(size: int) -> None:
    if size > LARGEST_TOTAL_BYTES:
        raise DataError(f"refused: a download of {size} bytes or more is absurdly large")


@contextmanager
def _download_bar(show: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on standard error; takes the bytes so far and in all."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = ("downloading", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task("", total=None)
        yield lambda written, total: bar.update(task, completed=written, total=total)


def _why(problem: Any, timeout_s: float) -> str:
    """What went wrong with a download, without the layers of network libraries."""
    import requests

    if isinstance(problem, requests.exceptions.HTTPError) and problem.response is not None:
        return f"the server answered {problem.response.status_code} {problem.response.reason}"
    if isinstance(problem, requests.exceptions.Timeout) or "timed out" in str(problem):
        return f"the server was silent for {timeout_s:g} s"
    if isinstance(problem, requests.exceptions.ChunkedEncodingError):
        return "the download broke off"
    if isinstance(problem, requests.exceptions.ConnectionError):
        return "the server cannot be reached"
    return f"the download failed ({type(problem).__name__})"
