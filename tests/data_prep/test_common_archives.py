"""Archives and paths from outside: refused where they would leave the folder."""

import io
import tarfile
import zipfile

import pytest

from data_prep.common.archives import extract_archive, inner_path


def make_tar(path, members, mode="w:gz"):
    """Members: name -> bytes, or a prepared TarInfo."""
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "C:\\a", "..\\a", "", "a\0b"])
def test_paths_that_leave_the_folder_are_refused(name):
    with pytest.raises(ValueError, match="t.tsv, line 3: .* refused"):
        inner_path(name, "t.tsv, line 3")


def test_unicode_blanks_and_dots_in_names_are_fine():
    assert inner_path("é ü/..a/b...wav", "here") == "é ü/..a/b...wav"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_is_unpacked_whole(tmp_path, mode):
    members = {"train/a b.wav": b"1", "train/é.wav": b"22"}
    archive = make_tar(tmp_path / "train.tar", members, mode)
    extract_archive(archive, str(tmp_path / "audio/train"))
    files = {p.name: p.read_bytes() for p in (tmp_path / "audio/train").iterdir()}
    assert files == {"a b.wav": b"1", "é.wav": b"22"}


def test_zip_is_unpacked_whole(tmp_path):
    with zipfile.ZipFile(tmp_path / "ab.zip", "w") as file:
        file.writestr("ab/", "")
        file.writestr("ab/x.wav", b"1")
        file.writestr("other/y.wav", b"2")
    extract_archive(str(tmp_path / "ab.zip"), str(tmp_path / "ab"))
    assert sorted(
        str(p.relative_to(tmp_path / "ab")) for p in (tmp_path / "ab").rglob("*.wav")
    ) == [
        "ab/x.wav",
        "other/y.wav",
    ]


@pytest.mark.parametrize(
    "name, content",
    [
        ("../evil", b"x"),
        ("/evil", b"x"),
        ("ln", link("ln", "/etc")),
        ("ln", link("ln", "a", tarfile.LNKTYPE)),
        ("fifo", link("fifo", "", tarfile.FIFOTYPE)),
    ],
)
def test_hostile_tar_is_refused_and_nothing_stays(tmp_path, name, content):
    archive = make_tar(tmp_path / "a.tar.gz", {"fine.wav": b"x", name: content})
    with pytest.raises(ValueError, match="a.tar.gz: .*refused"):
        extract_archive(archive, str(tmp_path / "folder/a"))
    assert [p.name for p in tmp_path.rglob("*")] == ["a.tar.gz", "folder"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "ln"])
def test_hostile_zip_is_refused_and_nothing_stays(tmp_path, name):
    info = zipfile.ZipInfo(name)
    if name == "ln":
        info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("fine.wav", b"x")
        file.writestr(info, b"/etc")
    with pytest.raises(ValueError, match="a.zip: .*refused"):
        extract_archive(str(tmp_path / "a.zip"), str(tmp_path / "a"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip"])
def test_truncated_archive_is_named_and_nothing_stays(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    content = bytes(range(256)) * 400
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a.wav", content)
    else:
        make_tar(path, {"a.wav": content, "b.wav": content}, "w:gz" if "gz" in kind else "w")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"a.{kind}: truncated or broken"):
        extract_archive(str(path), str(tmp_path / "a"))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_leftovers_of_an_interrupted_run_do_no_harm(tmp_path):
    archive = make_tar(tmp_path / "a.tar", {"a.wav": b"1"})
    (tmp_path / ".a.unpacking").mkdir()
    (tmp_path / ".a.unpacking/old.wav").write_bytes(b"half")
    extract_archive(archive, str(tmp_path / "a"))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["a.wav"]


def test_an_existing_folder_is_not_written_over(tmp_path):
    archive = make_tar(tmp_path / "a.tar", {"a.wav": b"1"})
    (tmp_path / "a").mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        extract_archive(archive, str(tmp_path / "a"))


def test_a_missing_archive_is_no_broken_archive(tmp_path):
    with pytest.raises(FileNotFoundError):
        extract_archive(str(tmp_path / "none.tar"), str(tmp_path / "none"))
