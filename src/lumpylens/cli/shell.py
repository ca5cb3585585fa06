"""Parts that all verbs share: the application, options, output and exit statuses."""

from __future__ import annotations

import json
import sys
import tomllib
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from lumpylens.errors import DataWarning, LumpylensError, ModelError
from lumpylens.files.json_files import plain

__all__ = [
    "SOME_FAILED",
    "Band",
    "Cluster",
    "Data",
    "Debug",
    "Device",
    "Json",
    "Model",
    "Out",
    "Quiet",
    "Seed",
    "app",
    "going_on",
    "look_here",
    "run",
    "say",
    "settings_of",
]

SOME_FAILED, USER_ERROR, INTERNAL_ERROR, INTERRUPTED = 1, 2, 70, 130
"""Exit statuses besides 0. That of a defect of lumpylens (70, `EX_SOFTWARE` of BSD's sysexits.h)
differs from that of images that failed; 130 is the shell's for Ctrl-C."""

app = typer.Typer(
    name="lumpylens",
    epilog="Exit status: 0 done, 1 done but some images could not be scored, 2 a mistake.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[str, typer.Argument(help="Folder or file of images.")]
Band = Annotated[str | None, typer.Option("--band", help="Band to use, such as VIS.")]
Model = Annotated[str, typer.Argument(help="Model folder, or a name listed by `lumpylens info`.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where to write.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides everything random.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Cluster = Annotated[
    str | None, typer.Option("--cluster", help="local[:N], or the address of a Dask scheduler.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress and no warnings.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"lumpylens {version('lumpylens')}")
        raise typer.Exit


@app.callback()
def _common(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="MODULE", help="With detectors of your own; repeatable."),
    ] = None,
) -> None:
    """Find dark-matter substructure in strong-lensing images without being shown any."""
    if modules:
        from lumpylens.detectors import user_module

        look_here()
        for module in modules:
            user_module(module)


def look_here() -> None:
    """Let imports find modules in the working folder, after all installed ones.

    It is called only when the user names code of his own: otherwise the folder may hold files of
    somebody else, which must not be run.
    """
    sys.path.append(str(Path.cwd()))


class Stopped(Exception):
    """A Ctrl-C, in the words of the verb that was stopped."""


@contextmanager
def going_on(how: Callable[[], str]) -> Iterator[None]:
    """Turn a Ctrl-C into `Stopped`, with the sentence of `how`: how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(how()) from None


def say(result: Mapping[str, Any], as_json: bool, lines: Iterable[str]) -> None:
    """Print a result on standard output: as JSON for a program, or as lines for a person."""
    text = json.dumps(plain(result), allow_nan=False) if as_json else "\n".join(lines)
    typer.echo(text)


def settings_of(assignments: Iterable[str] | None) -> dict[str, Any]:
    """Read settings given as ``name=value``, the value in TOML or plain text."""
    settings: dict[str, Any] = {}
    for assignment in assignments or ():
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ModelError(f"--set takes NAME=VALUE, got {assignment!r}")
        try:
            settings[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key.strip()] = text
    return settings


def _print_error(text: str) -> None:
    """Print one line on standard error."""
    typer.echo(f"lumpylens: {' '.join(text.split())}", err=True)


def run() -> None:
    """Run the command line; a user's mistake gives one line on standard error and exit status 2."""
    arguments = sys.argv[1:]

    def warn(message: Warning | str, *_: Any, **__: Any) -> None:
        _print_error(f"warning: {message}")

    warnings.showwarning = warn
    if "--debug" not in arguments:
        # Deprecation warnings of other packages do not help a user.
        warnings.simplefilter("ignore")
        if "--quiet" not in arguments:
            warnings.simplefilter("default", DataWarning)
    try:
        status = app(arguments or ["--help"], prog_name="lumpylens", standalone_mode=False) or 0
        if status == INTERRUPTED:
            _print_error("stopped; no incomplete result is left; score --cluster continues")
    except Stopped as stop:
        if "--quiet" not in arguments:
            _print_error(f"stopped; {stop}")
        status = INTERRUPTED
    except typer.TyperException as problem:
        context = getattr(problem, "ctx", None)
        place = context.command_path if context else "lumpylens"
        _print_error(f"{problem.format_message().rstrip('.')} (see {place} --help)")
        status = USER_ERROR
    except LumpylensError as problem:
        if "--debug" in arguments:
            traceback.print_exc()
        _print_error(str(problem))
        status = USER_ERROR
    except Exception:  # noqa: BLE001 - Python's own exit status would be that of SOME_FAILED
        traceback.print_exc()
        _print_error("this is a defect of lumpylens; please report it with the lines above")
        status = INTERNAL_ERROR
    sys.exit(status)
