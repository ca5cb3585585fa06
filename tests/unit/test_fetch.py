"""Fetching: whole, checked and in place, or one line and nothing left behind."""

from __future__ import annotations

import http.server
import io
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lumpylens.data import fetch as fetching
from lumpylens.data.fetch import (
    DataSet,
    content_digest,
    data_set,
    fetch,
    fetch_data_set,
    image_files,
)
from lumpylens.errors import DataError

ROOT = "SLC_Data-main/lenses"


def jpeg(seed):
    values = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG")
    return file.getvalue()


IMAGES = {
    f"{kind}/{k}.jpg": jpeg(k + 9 * (kind == "sub")) for kind in ("no_sub", "sub") for k in range(3)
}


def zipped(images=IMAGES, extra=()):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("SLC_Data-main/README.md", "about")
        for name, content in images.items():
            opened.writestr(f"{ROOT}/{name}", content)
        for name, content in extra:
            opened.writestr(name, content)
    return file.getvalue()


def tarred(images=IMAGES, extra=(), mode="w:gz"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as opened:
        members = [(f"{ROOT}/{name}", content) for name, content in images.items()]
        for name, content in [*members, *extra]:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return file.getvalue()


def unpacked(folder, images=IMAGES):
    for name, content in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """The small data set that stands for the challenge's."""
    counts = {"no_sub": 3, "sub": 3}
    folder = unpacked(tmp_path_factory.mktemp("wanted"))
    draft = DataSet("small", "the small data", "http://localhost:1/never", counts, "")
    files = image_files(draft, folder)
    return DataSet(draft.name, draft.title, draft.url, counts, content_digest(files))


class Server(http.server.ThreadingHTTPServer):
    """Answers each request with the next of its plans, the last one for ever."""

    daemon_threads = True

    def __init__(self):
        self.plans, self.requests, self.over = [], 0, threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/slc.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        plan = server.plans[min(server.requests, len(server.plans) - 1)]
        server.requests += 1
        plan(self, server)

    def log_message(self, *_):
        pass


def answer(body, status=200, announced=None):
    def plan(handler, _):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if announced is None else announced))
        handler.end_headers()
        handler.wfile.write(body)

    return plan


def chunked(body, size=50):
    """Send without a length, as the public host does; HTTP/1.0 ends with the connection."""

    def plan(handler, _):
        handler.send_response(200)
        handler.end_headers()
        for start in range(0, len(body), size):
            handler.wfile.write(body[start : start + size])

    return plan


def hang_at_once(_, server):
    server.over.wait(20)


def hang_midway(handler, server):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"PK" * 100)
    handler.wfile.flush()
    server.over.wait(20)


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)


def get(wanted, target, source, **options):
    return fetch_data_set(
        wanted, target, source=source, progress=False, **{"retries": 0, "timeout_s": 5, **options}
    )


def check(folder):
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    assert {name: path.read_bytes() for name, path in names.items()} == IMAGES


def refused(wanted, target, source, said, **options):
    """Expect one line, and nothing left."""
    with pytest.raises(DataError, match=said) as caught:
        get(wanted, target, source, **options)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    assert not list(target.parent.glob(f".{target.name}*"))


@pytest.mark.parametrize(
    "body", [zipped(), tarred(), tarred(mode="w")], ids=["zip", "tar.gz", "tar"]
)
@pytest.mark.parametrize("plan", [answer, chunked])
def test_good(body, plan, wanted, server, tmp_path):
    server.plans = [plan(body)]
    folder = get(wanted, tmp_path / "new" / "slc", server.url)
    assert folder == tmp_path / "new" / "slc"
    check(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["no_sub", "sub"]
    assert [path.name for path in folder.parent.iterdir()] == ["slc"]
    assert get(wanted, folder, server.url) == folder
    assert server.requests == 1


def test_the_bar_tells_of_the_download(wanted, server, tmp_path, capsys):
    server.plans = [answer(zipped())]
    fetch_data_set(wanted, tmp_path / "slc", source=server.url, progress=True)
    printed = capsys.readouterr()
    assert "downloading" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    "broken",
    [
        answer(zipped()[:-200], announced=len(zipped())),
        answer(b"", 503),
        hang_midway,
        hang_at_once,
    ],
    ids=["cut off", "unavailable", "hanging midway", "hanging"],
)
def test_a_broken_download_is_started_again(broken, wanted, server, tmp_path):
    server.plans = [broken, answer(zipped())]
    check(get(wanted, tmp_path / "slc", server.url, retries=1, timeout_s=0.3))
    assert server.requests == 2


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (answer(zipped()[:-200], announced=len(zipped())), "broke off"),
        (chunked(zipped()[:-200]), "cut off"),
        (chunked(tarred()[:-30]), "cut off"),
        (answer(b"", 404), "server answered 404 Not Found.*--from"),
        (answer(b"", 500), "server answered 500"),
        (answer(b"<html>sign in</html>"), "neither a zip nor a tar.gz"),
        (answer(b""), "neither a zip nor a tar.gz"),
        (hang_at_once, "silent for 0.3 s"),
        (hang_midway, "silent for 0.3 s"),
    ],
    ids=["cut off", "zip cut off", "tar cut off", "404", "500", "page", "empty", "hanging",
         "hanging midway"],
)  # fmt: skip
def test_bad_answers(plan, said, wanted, server, tmp_path):
    server.plans = [plan]
    refused(wanted, tmp_path / "slc", server.url, said, timeout_s=0.3, retries=1)


def test_no_server(wanted, tmp_path):
    refused(wanted, tmp_path / "slc", None, "localhost:1/never: the server cannot be reached")


CHANGED = {**IMAGES, "sub/1.jpg": jpeg(77)}
SWAPPED = {**IMAGES, "sub/1.jpg": IMAGES["sub/2.jpg"], "sub/2.jpg": IMAGES["sub/1.jpg"]}
FEWER = {name: content for name, content in IMAGES.items() if name != "no_sub/2.jpg"}
MORE = {**IMAGES, "sub/3.jpg": jpeg(78)}


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (CHANGED, "content differs"),
        (SWAPPED, "content differs"),
        (FEWER, "2 images in no_sub where 3 are expected"),
        (MORE, "4 images in sub where 3 are expected"),
        ({}, "0 images in no_sub where 3"),
    ],
    ids=["changed", "swapped", "fewer", "more", "none"],
)
def test_tampered(images, said, wanted, server, tmp_path):
    server.plans = [answer(zipped(images))]
    refused(wanted, tmp_path / "slc", server.url, said)
    refused(wanted, tmp_path / "slc", unpacked(tmp_path / "copy", images or {"a/b.txt": b""}), said)


def test_an_archive_that_leads_outside_is_refused(wanted, server, tmp_path):
    server.plans = [answer(zipped(extra=[("../../no_sub/x.jpg", b"x")]))]
    refused(wanted, tmp_path / "a" / "slc", server.url, "leads out of it")
    assert list(tmp_path.rglob("*.jpg")) == []


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_image_that_occurs_twice_is_refused(pack, wanted, tmp_path):
    (tmp_path / "copy").write_bytes(pack(extra=[("other/sub/1.jpg", b"x")]))
    refused(wanted, tmp_path / "slc", tmp_path / "copy", "twice")


def test_an_endless_download_is_stopped(wanted, server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "LARGEST_TOTAL_BYTES", 1000)
    server.plans = [chunked(bytes(200_000), 5000)]
    refused(wanted, tmp_path / "slc", server.url, "absurdly large")
    server.plans = [answer(b"x", announced=10**12)]
    refused(wanted, tmp_path / "slc", server.url, "absurdly large")


@pytest.mark.parametrize("name", ["copy.zip", "copy 1.tar.gz", "copy", "lenses", "above/lenses"])
def test_offline_copies(name, wanted, tmp_path):
    path = tmp_path / name
    if name.startswith("copy"):
        path.write_bytes(tarred() if "tar" in name else zipped())
    else:
        unpacked(path)
        (path / "no_sub" / ".DS_Store").write_bytes(b"x")
        path = tmp_path / Path(name).parts[0]
    check(get(wanted, tmp_path / "slc", path))
    check(get(wanted, tmp_path / "again", path.as_uri()))
    assert path.exists()


def test_no_such_copy(wanted, tmp_path):
    refused(wanted, tmp_path / "slc", tmp_path / "missing.zip", "no such file or folder")
    refused(wanted, tmp_path / "slc", "ftp://host/file", "no http address")


def test_a_right_folder_is_accepted_and_a_wrong_one_left_alone(wanted, tmp_path):
    folder = unpacked(tmp_path / "slc")
    assert get(wanted, folder, "http://localhost:1/") == folder
    (folder / "sub" / "0.jpg").write_bytes(jpeg(50))
    with pytest.raises(DataError, match=r"exists and is not the small data: .*remove it"):
        get(wanted, folder, None)
    assert len(list(folder.rglob("*.jpg"))) == 6
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file"):
        get(wanted, tmp_path / "file", None)


def test_a_clone_of_the_repository_is_accepted_where_its_images_are(wanted, tmp_path):
    lenses = unpacked(tmp_path / "clone" / "lenses")
    (tmp_path / "clone" / "README.md").write_text("x")
    assert get(wanted, tmp_path / "clone", None) == lenses
    (lenses / "sub").rename(tmp_path / "clone" / "sub")
    with pytest.raises(DataError, match="the class folders are not in one folder"):
        get(wanted, tmp_path / "clone", None)


def test_an_empty_folder_is_filled(wanted, tmp_path):
    (tmp_path / "slc").mkdir()
    check(get(wanted, tmp_path / "slc", unpacked(tmp_path / "copy")))


def test_a_faster_process_wins(wanted, tmp_path, monkeypatch):
    target, collect = tmp_path / "slc", fetching._collect

    def collect_while_another_does(*args):
        collect(*args)
        unpacked(target)

    monkeypatch.setattr(fetching, "_collect", collect_while_another_does)
    check(get(wanted, target, unpacked(tmp_path / "copy")))


def test_an_interruption_leaves_nothing(wanted, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(DataSet, "defect", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get(wanted, tmp_path / "slc", unpacked(tmp_path / "copy"))
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_full_disk_is_one_line(wanted, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching.shutil, "copyfile", full)
    refused(wanted, tmp_path / "slc", unpacked(tmp_path / "copy"), "No space left on device")


def test_unknown_names_are_refused():
    with pytest.raises(DataError, match="no data set is called 'scl'; known: slc"):
        fetch("scl")


def test_the_shipped_description():
    known = data_set("slc")
    assert known.counts == {"no_sub": 4500, "sub": 4500}
    assert known.url.startswith("https://codeload.github.com/ML4SCI-SLC/SLC_Data/")
    assert len(known.digest) == 64


def test_the_default_place_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr(fetching, "fetch_data_set", lambda wanted, target, **_: target)
    assert fetch() == tmp_path / "lumpylens" / "slc"


def test_the_network_libraries_are_imported_when_needed():
    code = (
        "import sys, lumpylens.data.fetch; print({'pooch', 'requests', 'rich'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_the_real_challenge_is_what_is_shipped(real_data, tmp_path):
    known = data_set("slc")
    assert known.defect(real_data / "slc") == ""
    lenses = (real_data / "slc" / "lenses").resolve()
    assert fetch("slc", out=real_data / "slc" / "lenses") == lenses
