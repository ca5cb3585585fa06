"""Unpacking: what no honest archive holds is refused."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from lumpylens.data import archive
from lumpylens.data.archive import unpack
from lumpylens.errors import DataError

GOOD = {"repo/no_sub/0.jpg": b"first", "repo/sub/0.jpg": b"second", "repo/README": b"about"}


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for name, content in members:
            opened.writestr(name, content)
    return file.getvalue()


def tarred(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as opened:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return file.getvalue()


def place(parts):
    return "/".join(parts[-2:]) if parts[-1].endswith(".jpg") else None


@pytest.fixture
def refused(tmp_path):
    """Expect one line, and no file outside the folder."""

    def check(body, said):
        path, into = tmp_path / "archive", tmp_path / "deep" / "into"
        path.write_bytes(body)
        into.mkdir(parents=True)
        with pytest.raises(DataError, match=said) as caught:
            unpack(path, into, place)
        assert "\n" not in str(caught.value)
        assert all(into in found.parents for found in tmp_path.rglob("*.jpg"))

    return check


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_only_what_is_placed_is_written(pack, tmp_path):
    (tmp_path / "archive").write_bytes(pack(GOOD.items()))
    into = tmp_path / "into"
    into.mkdir()
    unpack(tmp_path / "archive", into, place)
    written = {
        path.relative_to(into).as_posix(): path for path in into.rglob("*") if path.is_file()
    }
    assert {name: path.read_bytes() for name, path in written.items()} == {
        "no_sub/0.jpg": b"first",
        "sub/0.jpg": b"second",
    }


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    "name", ["../a/x.jpg", "/etc/a/x.jpg", "a/../../b/x.jpg", "C:/a/x.jpg", "a\\..\\x.jpg", ".."]
)
def test_paths_that_lead_outside(pack, name, refused):
    refused(pack([*GOOD.items(), (name, b"x")]), "leads out of it")


def special(kind):
    info = tarfile.TarInfo("repo/no_sub/link.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_in_tar(kind, refused):
    refused(tarred([*GOOD.items(), (special(kind), b"")]), "link or a special file")


def test_links_in_zip(refused):
    info = zipfile.ZipInfo("repo/no_sub/link.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(zipped([*GOOD.items(), (info, "/etc/passwd")]), "link or a special file")


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    ("limit", "value"),
    [("LARGEST_MEMBER_BYTES", 5000), ("LARGEST_TOTAL_BYTES", 5000), ("MOST_MEMBERS", 3)],
)
def test_absurd_sizes(pack, limit, value, refused, monkeypatch):
    monkeypatch.setattr(archive, limit, value)
    refused(pack([*GOOD.items(), ("repo/zeros", bytes(6000))]), "absurd")


def test_enormous_headers(refused, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST_TOTAL_BYTES", 50_000)
    info = tarfile.TarInfo("no_sub/x.jpg")
    info.pax_headers = {"comment": "x" * 300_000}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as opened:
        opened.addfile(info)
    refused(gzip.compress(file.getvalue()), "absurd size")


def test_a_zip_that_lies_about_its_sizes(refused):
    body = bytearray(zipped([("repo/sub/0.jpg", bytes(3000))]))
    at = body.rfind(b"PK\x01\x02")
    body[at + 24 : at + 28] = (10).to_bytes(4, "little")
    refused(bytes(body), "cut off or damaged|more than it declares")


def test_an_encrypted_zip(refused):
    body = bytearray(zipped(GOOD.items()))
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = body.find(mark)
        body[at + flags] |= 1
    refused(bytes(body), "encrypted")


@pytest.mark.parametrize("body", [b"", b"<html>", zipped(GOOD.items())[:-30]])
def test_no_archive(body, refused):
    refused(body, "neither a zip nor a tar.gz")


def test_a_cut_off_tar(refused):
    refused(tarred(GOOD.items())[:-60], "cut off")
