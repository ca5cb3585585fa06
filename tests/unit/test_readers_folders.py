"""Folders: what is found in them, what is passed over, and paths that lead nowhere."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from lumpylens.data import LensImages
from lumpylens.errors import DataError, DataWarning


@pytest.fixture
def put(tmp_path):
    """Write small pictures, stacks or other files by name under the test's folder."""

    def write(*names):
        for number, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image = np.random.default_rng(number).integers(0, 256, (6, 8), dtype=np.uint8)
            if path.suffix == ".npy":
                np.save(path, image)
            elif path.suffix.lower() in (".png", ".jpg"):
                Image.fromarray(image).save(path)
            else:
                path.write_text("other")
        return tmp_path

    return write


def test_order_is_by_path_with_folders_together(put):
    folder = put("b.png", "a/z.png", "a/b/c.png", "a.b/x.png", "A.png", "a0.png")
    assert LensImages.open(folder).ids == [
        "A.png", "a/b/c.png", "a/z.png", "a.b/x.png", "a0.png", "b.png",
    ]  # fmt: skip


def test_other_and_hidden_files_are_passed_over(put):
    folder = put(
        "a.png", "README.md", "table.csv", ".hidden.png", ".cache/x.png", "__MACOSX/._a.png",
        "notes.txt", "a.png.part",
    )  # fmt: skip
    assert LensImages.open(folder).ids == ["a.png"]


def test_names_that_only_look_like_pictures_are_rows(put):
    folder = put("a.png", "b.png")
    (folder / "b.png").write_text("just text")
    errors = [item.error for item in LensImages.open(folder)]
    assert errors == ["", "not a PNG, JPEG or TIFF picture"]


def test_formats_may_be_mixed(put):
    images = LensImages.open(put("c.npy", "d.npy", "a.png", "no_sub/b.png"))
    assert images.ids == ["a.png", "no_sub/b.png", "c.npy", "d.npy"]
    assert list(images.labels) == [-1, 0, -1, -1]
    assert [item.id for item in images] == images.ids
    assert not any(item.error for item in images)


def test_the_nearest_class_folder_counts(put):
    folder = put("no_sub/night1/a.png", "sub/no_sub/b.png", "no_sub/sub/c.png", "Sub/d.png")
    images = LensImages.open(folder)
    known = dict(zip(images.ids, images.labels, strict=True))
    assert known == {
        "no_sub/night1/a.png": 0, "sub/no_sub/b.png": 0, "no_sub/sub/c.png": 1, "Sub/d.png": -1,
    }  # fmt: skip


def test_a_folder_in_a_folder_is_entered_but_a_class_is_not(put):
    folder = put("repo-main/lenses/no_sub/a.png", "repo-main/lenses/sub/b.png", "repo-main/README")
    images = LensImages.open(folder)
    assert images.ids == ["no_sub/a.png", "sub/b.png"]
    assert images.location == str(folder / "repo-main" / "lenses")
    (folder / "repo-main/lenses/sub/b.png").unlink()
    assert LensImages.open(folder).ids == ["no_sub/a.png"]


def test_the_label_of_the_opened_folder_counts_by_any_path_to_it(put, monkeypatch):
    folder = put("sub/a.png", "no_sub/b.png")
    monkeypatch.chdir(folder / "sub")
    assert list(LensImages.open(".").labels) == [1]
    assert list(LensImages.open("../no_sub/b.png").labels) == [0]
    (folder / "link").symlink_to(folder / "sub")
    assert list(LensImages.open(folder / "link").labels) == [1]


def test_links_are_followed_and_loops_end(put, tmp_path_factory):
    folder = put("no_sub/a.png")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    Image.fromarray(np.eye(5, dtype=np.uint8)).save(elsewhere / "b.png")
    (folder / "sub").symlink_to(elsewhere)
    (folder / "no_sub" / "loop").symlink_to(folder)
    images = LensImages.open(folder)
    assert images.ids == ["no_sub/a.png", "sub/b.png"]
    assert list(images.labels) == [0, 1]


def test_a_folder_that_cannot_be_read_is_a_row(put, monkeypatch):
    folder = put("no_sub/a.png", "sub/b.png")
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith(os.sep + "sub"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    images = LensImages.open(folder)
    assert images.ids == ["no_sub/a.png", "sub"]
    assert images[1].error == "folder cannot be read: Permission denied"
    assert list(images.labels) == [0, 1]
    with pytest.raises(DataError, match="Permission denied"):
        LensImages.open(folder / "sub")


def test_names_that_are_no_text_can_be_written_down(put):
    folder = put("a.png")
    strange = os.fsencode(folder) + b"/b\xff\n.png"
    os.rename(folder / "a.png", strange)
    images = LensImages.open(folder)
    assert images.ids == ["b\\xff\n.png"]
    images.ids[0].encode()
    assert not images[0].error


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "nowhere", "no such file or folder: .*nowhere"),
        (lambda folder: folder, r"no images in .*looked for .jpg, .*\.fits.* found 0 other files"),
        (lambda folder: (folder / "a.csv").write_text("x") and folder, "found 1 other files"),
        (lambda folder: (folder / "a.csv").write_text("x") and folder / "a.csv", "not an image"),
        (lambda folder: folder / "a\0b", "no such file"),
    ],
    ids=["missing", "empty", "nothing readable", "other format", "impossible name"],
)
def test_paths_that_lead_nowhere_give_one_line(make, said, tmp_path):
    with pytest.raises(DataError, match=said) as caught:
        LensImages.open(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_home_is_understood(put, monkeypatch):
    monkeypatch.setenv("HOME", str(put("a.png")))
    assert LensImages.open("~").ids == ["a.png"]


def test_opening_reads_no_picture(put, monkeypatch):
    folder = put("a.png", "b.png")

    def refuse(*_):
        raise AssertionError("a picture was read")

    monkeypatch.setattr(Image, "open", refuse)
    images = LensImages.open(folder)
    assert len(images[1:] + images) == 3
    repr(images)


def test_files_of_other_kinds_are_counted_by_ending(put):
    images = LensImages.open(put("a.png", "i.webp", "j.bmp", "k.gif", "l.gif", "notes.md", "t.csv"))
    assert images.ids == ["a.png"]
    assert images.remarks() == ["files of other kinds are ignored (2 .gif, 1 .webp, 1 .bmp)"]
    with pytest.warns(DataWarning, match="2 .gif"):
        images.warned()


def test_of_one_name_in_two_formats_the_numbers_win_with_a_word(put):
    folder = put("no_sub/image_0.npy", "no_sub/image_0.png", "no_sub/image_1.npy", "no_sub/x.png",
                 "sub/image_0.png", "no_sub/x.jpg")  # fmt: skip
    images = LensImages.open(folder)
    assert images.ids == ["no_sub/x.png", "sub/image_0.png", "no_sub/image_0.npy",
                          "no_sub/image_1.npy"]  # fmt: skip
    assert images.remarks() == [
        "2 files are ignored because a file of the same name has more precise numbers (the "
        "first is image_0.png, next to image_0.npy)"
    ]


def test_several_paths_and_patterns_are_one_collection(put, monkeypatch):
    folder = put("a/1.png", "a/2.png", "b/1.png", "b/deep/3.npy", "c.png", "c.txt")
    images = LensImages.open([folder / "b", str(folder / "a" / "1.png"), folder / "c.png"])
    assert sorted(images.ids) == ["a/1.png", "b/1.png", "b/deep/3.npy", "c.png"]
    assert all(item.error == "" for item in images)
    assert LensImages.open([folder / "a" / "2.png"]).ids == ["2.png"]
    assert LensImages.open(f"{folder}/a/*.png").ids == ["1.png", "2.png"]
    assert sorted(LensImages.open([f"{folder}/**/1.png"]).ids) == ["a/1.png", "b/1.png"]
    monkeypatch.chdir(folder)
    assert sorted(LensImages.open(("a", "c.png")).ids) == ["a/1.png", "a/2.png", "c.png"]


def test_labels_of_several_paths_are_those_of_their_folders(put):
    folder = put("no_sub/1.png", "sub/1.png")
    images = LensImages.open([folder / "no_sub" / "1.png", folder / "sub" / "1.png"])
    assert dict(zip(images.ids, images.labels.tolist(), strict=True)) == {
        "no_sub/1.png": 0, "sub/1.png": 1
    }  # fmt: skip
    assert LensImages.open([folder / "sub" / "1.png"]).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no files are given"),
        (["a.png", "lost.png"], "no such file or folder: .*lost.png"),
        (["a.png", "."], "a.png is given twice"),
        (["c.txt"], "no images in"),
        ("*.fits", r"no file matches \*.fits"),
    ],
)
def test_mistakes_with_several_paths_are_one_line(put, given, said, monkeypatch):
    monkeypatch.chdir(put("a.png", "b.png", "c.txt"))
    with pytest.raises(DataError, match=said):
        LensImages.open(given)


def test_a_name_with_brackets_is_a_name(put):
    folder = put("lens[1].png", "lens1.png")
    assert LensImages.open(str(folder / "lens[1].png")).ids == ["lens[1].png"]


def test_one_cutout_is_a_collection(put):
    (cutout,) = LensImages.open(put("a.png"))
    images = LensImages.open(cutout)
    assert images.ids == ["a.png"]
    assert images[0] is cutout
