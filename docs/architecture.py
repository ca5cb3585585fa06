"""Draws the architecture page from the imports that the code really has.

``python docs/architecture.py`` rewrites the picture and the table in ``docs/architecture.md``;
with ``--check`` it writes nothing. It exits with 1 if page or picture are not current, if modules
import each other in a circle, or if a room imports one that stands above it. Every import counts,
those inside functions and those for type checks included.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src" / "lumpylens"
PAGE, PICTURE = DOCS / "architecture.md", DOCS / "images" / "architecture.svg"
BEGIN, END = "<!-- drawn from the imports: begin -->", "<!-- drawn from the imports: end -->"

ROOMS = {
    "cli": "command line: one verb per public function, with the same options",
    "verbs": "public functions: train, score, evaluate, explain, fit, benchmark and others",
    "scale": "shards, receipts, Dask: scoring and simulating more images than fit in one process",
    "lenses": "real lenses, one at a time: staged fit, perturber, row of the catalogue",
    "report": "figures and HTML pages, and the results that are written as these",
    "store": "the model: its folder, its packed file, the models that come with the package",
    "fraction": "mass in substructure of many lenses: likelihood of each, posterior, comparison",
    "detectors": "contract of a detector, and a folder or a file per family of detectors",
    "training": "training loop, the same for every network",
    "results": "results of the verbs: tables, calibration, metrics, rankings, explanations",
    "simulation": "populations, substructure and cameras; every image has its own seed",
    "data": "`LensImages`, one reader per format, splits, the challenge's download",
    "physics": "deflections, light, PSF, noise, inference, filter: functions on tensors",
    "files": "tables, writing whole files, digests, receipts, processes, progress",
    "errors": "exceptions and warnings",
}
"""Room -> what it holds, from the top to the bottom layer; imports point downwards."""

WIDTH, BOX_WIDTH, BOX_HEIGHT, ROW = 860, 110, 34, 78
ACROSS = {
    "cli": 0.5, "verbs": 0.5, "scale": 0.24, "lenses": 0.6, "report": 0.74, "store": 0.42,
    "fraction": 0.3, "detectors": 0.42, "training": 0.48, "results": 0.7, "simulation": 0.12,
    "data": 0.7, "physics": 0.24, "files": 0.74, "errors": 0.55,
}  # fmt: skip
"""Where a box stands in its row, so that long arrows pass beside boxes."""

Imports = Mapping[str, Set[str]]


def imports(source: Path = SOURCE) -> dict[str, set[str]]:
    """Module of the package -> modules that it imports; a folder stands for its ``__init__``.

    The package's own ``__init__`` and ``__main__`` stand in no room and are left out: one names
    what is public, wherever that lives, the other starts the command line.
    """
    paths = {module_name(path, source): path for path in sorted(source.rglob("*.py"))}
    for door in ("", "__main__"):
        paths.pop(door, None)
    return {
        module: imported_by(ast.parse(path.read_text(encoding="utf-8")), source.name, set(paths))
        - {module}
        for module, path in paths.items()
    }


def module_name(path: Path, source: Path) -> str:
    """Dotted name of a module within the package; of an ``__init__``, that of its folder."""
    return (
        ".".join(path.relative_to(source).with_suffix("").parts)
        .removesuffix("__init__")
        .rstrip(".")
    )


def imported_by(tree: ast.AST, package: str, modules: Set[str]) -> set[str]:
    """Which of `modules` some code imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    within = (name.removeprefix(f"{package}.") for name in names if name.startswith(f"{package}."))
    return {module for name in within if (module := longest_known(name, modules))}


def longest_known(name: str, modules: Set[str]) -> str:
    """The module that a dotted name lies in, or an empty string."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def between_rooms(modules: Imports) -> dict[str, set[str]]:
    """The same between the rooms of the house."""
    rooms: dict[str, set[str]] = {}
    for module, others in modules.items():
        room = module.partition(".")[0]
        rooms.setdefault(room, set()).update(other.partition(".")[0] for other in others)
        rooms[room].discard(room)
    return rooms


def faults(modules: Imports) -> list[str]:
    """What is wrong with the imports, in words: a circle, an arrow upwards, a room without words.

    Parameters
    ----------
    modules : mapping
        As `imports` gives it.
    """
    said = []
    try:
        TopologicalSorter(modules).prepare()
    except CycleError as circle:
        said.append(f"modules import each other in a circle: {' <- '.join(circle.args[1])}")
    floor = {room: number for number, room in enumerate(ROOMS)}
    for module, others in modules.items():
        room = module.partition(".")[0]
        if room not in floor:
            said.append(f"{module} stands in no room: put it into one, or add its room to ROOMS")
            continue
        said += [
            f"{module} imports {other}, which stands above it"
            for other in sorted(others)
            if floor.get(other.partition(".")[0], len(floor)) < floor[room]
        ]
    return said


def layers(rooms: Imports) -> list[list[str]]:
    """Rooms by floor, from those that import nothing."""
    level: dict[str, int] = {}
    for room in TopologicalSorter(rooms).static_order():
        level[room] = 1 + max((level[other] for other in rooms[room]), default=-1)
    floors: list[list[str]] = [[] for _ in range(1 + max(level.values()))]
    for room in sorted(level, key=list(ROOMS).index):
        floors[level[room]].append(room)
    return floors


def direct(rooms: Imports) -> dict[str, set[str]]:
    """Without the arrows that follow from others: they would hide the picture."""

    def reach(room: str) -> set[str]:
        return set(rooms[room]).union(*(reach(other) for other in rooms[room]))

    return {
        room: {o for o in others if not any(o in reach(via) for via in others - {o})}
        for room, others in rooms.items()
    }


def picture(rooms: Imports) -> str:
    """The boxes and arrows as SVG."""
    floors = layers(rooms)
    height = ROW * len(floors)
    place = {
        room: (WIDTH * ACROSS[room], height - ROW * level - ROW / 2)
        for level, floor in enumerate(floors)
        for room in floor
    }
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Rooms of lumpylens and which of them import which" '
        'font-family="sans-serif" font-size="15" text-anchor="middle">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#78909c"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
    ]
    for room, others in sorted(direct(rooms).items()):
        x, y = place[room]
        for other in sorted(others):
            to_x, to_y = place[other]
            start, end = y + BOX_HEIGHT / 2, to_y - BOX_HEIGHT / 2
            middle = (start + end) / 2
            lines.append(
                f'<path d="M{x:.0f} {start:.0f}C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} '
                f'{to_x:.0f} {end:.0f}" fill="none" stroke="#78909c" stroke-width="1.5" '
                'marker-end="url(#tip)"/>'
            )
    for room, (x, y) in sorted(place.items()):
        lines.append(
            f'<rect x="{x - BOX_WIDTH / 2:.0f}" y="{y - BOX_HEIGHT / 2:.0f}" width="{BOX_WIDTH}" '
            f'height="{BOX_HEIGHT}" rx="6" fill="#eceff1" stroke="#455a64"/>'
            f'<text x="{x:.0f}" y="{y + 5:.0f}" fill="#263238">{escape(room)}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def table(rooms: Imports) -> str:
    """What each room holds and imports, from the top, as Markdown."""
    lines = ["| room | holds | imports |", "|---|---|---|"]
    for floor in reversed(layers(rooms)):
        for room in floor:
            name = f"`{room}{'/' if (SOURCE / room).is_dir() else '.py'}`"
            below = ", ".join(other for other in ROOMS if other in rooms[room]) or "nothing"
            lines.append(f"| {name} | {ROOMS[room]} | {below} |")
    return "\n".join(lines)


def main(check: bool) -> str:
    """Write picture and page, or say what is wrong; an empty string if all is well."""
    modules = imports()
    if said := faults(modules):
        return "\n".join(said)
    rooms = between_rooms(modules)
    drawn = picture(rooms)
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    written = f"{before}{BEGIN}\n\n{table(rooms)}\n\n{END}{after}"
    if check:
        current = written == page and PICTURE.read_text(encoding="utf-8") == drawn
        return "" if current else "docs/architecture.md is not current: run make architecture"
    PAGE.write_text(written, encoding="utf-8")
    PICTURE.write_text(drawn, encoding="utf-8")
    return ""


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]) or 0)
