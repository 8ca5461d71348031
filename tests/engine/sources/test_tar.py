from __future__ import annotations

import io
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.engine.sources.pictures import Unsuitable
from skymetal.engine.sources.tar import BLOCK, TarArchive, open_tar

pytestmark = pytest.mark.timeout(30)
LONG = "/".join(["a-folder-with-a-long-name"] * 12) + "/picture.jpg"
PREFIXED = "/".join(["folder"] * 20) + "/picture.jpg"
CONTENTS = {"1.jpg": b"one", "empty.jpg": b"", "block.jpg": b"x" * 512, LONG: b"long" * 300, PREFIXED: b"prefix"}


def write_tar(path: Path, contents: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> None:
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def reason(archive: TarArchive, name: str) -> str:
    with pytest.raises(Unsuitable) as error:
        archive.read(name)
    return str(error.value)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_format_of_python_is_read(tmp_path: Path, form: int) -> None:
    contents = {**CONTENTS, "Sérsic.jpg": b"accent", "last.jpg": b"last"}
    if form == tarfile.USTAR_FORMAT:
        del contents[LONG]  # it cannot hold one
    write_tar(tmp_path / "a.tar", contents, form)
    with open_tar(str(tmp_path / "a.tar")) as archive:
        assert {name: archive.read(name) for name in contents} == contents
        assert reason(archive, "2.jpg") == "no such file"
        assert "2.jpg" not in archive
        assert archive.first_name() == "1.jpg"


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "v7"])
def test_every_format_of_the_tar_command_is_read(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "images"
    for name, content in CONTENTS.items():
        if form in ("ustar", "v7") and name in (LONG, PREFIXED):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    command = ["tar", f"--format={form}", "-cf", "a.tar", "-C", "images", "."]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=20)
    with open_tar(str(tmp_path / "a.tar")) as archive:
        for path in folder.rglob("*.jpg"):
            assert archive.read(str(path.relative_to(folder))) == path.read_bytes()


def test_only_regular_files_are_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)
        for number, kind in enumerate(kinds):
            member = tarfile.TarInfo(f"{number}.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        archive.addfile(tarfile.TarInfo("7.jpg"))
    with open_tar(str(tmp_path / "a.tar")) as opened:
        assert opened.read("7.jpg") == b""
        assert opened.first_name() == "7.jpg"
        for number in range(len(kinds)):
            assert reason(opened, f"{number}.jpg") == "no such file"


def test_a_repeated_name_is_not_guessed_at(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"1.jpg": b"old", "./1.jpg": b"new", "2.jpg": b"two"})
    with open_tar(str(tmp_path / "a.tar")) as archive:
        assert reason(archive, "1.jpg") == "repeated name: 2 files of the archive have it"
        assert archive.read("2.jpg") == b"two"


def test_a_truncated_archive_gives_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, {f"{number}.jpg": bytes([number]) * 2000 for number in range(5)})
    whole = path.read_bytes()
    path.write_bytes(whole[: 2 * (BLOCK + 2048) + BLOCK + 100])
    with open_tar(str(path)) as archive:
        assert archive.read("1.jpg") == b"\1" * 2000
        assert reason(archive, "2.jpg") == "truncated: the archive ends after 100 of 2000 bytes"
        assert reason(archive, "3.jpg") == "no such file: the archive was cut short, perhaps before it"


def test_an_archive_with_a_damaged_header_tells_where(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, {f"{number}.jpg": b"" for number in range(3)})
    data = bytearray(path.read_bytes())
    data[BLOCK] ^= 1
    path.write_bytes(data)
    with open_tar(str(path)) as archive:
        assert archive.read("0.jpg") == b""
        words = "the archive cannot be read from byte 512 on, which holds a header whose checksum does not match"
        assert reason(archive, "2.jpg") == f"no such file: {words}"


def test_an_archive_that_was_replaced_is_indexed_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for content in (b"first", b"the second"):
        write_tar(tmp_path / "new.tar", {"1.jpg": content})
        (tmp_path / "new.tar").replace(path)
        with open_tar(str(path)) as archive:
            assert archive.read("1.jpg") == content


@pytest.mark.parametrize("size", [65 << 20, 10**18, 2**70])
def test_a_size_that_a_header_only_claims_is_not_allocated(tmp_path: Path, size: int) -> None:
    member = tarfile.TarInfo("1.jpg")
    member.size = size
    data = member.tobuf(tarfile.GNU_FORMAT if size < 2**62 else tarfile.PAX_FORMAT)
    (tmp_path / "a.tar").write_bytes(data + b"short")
    with open_tar(str(tmp_path / "a.tar")) as archive:
        assert reason(archive, "1.jpg").startswith(("file too large: ", "no such file: the archive cannot be read"))


def test_random_damage_is_never_more_than_a_reason(tmp_path: Path) -> None:
    chance, path = random.Random(3), tmp_path / "a.tar"
    write_tar(path, CONTENTS)
    clean, num_bad = path.read_bytes(), 0
    for _ in range(300):
        data = bytearray(clean)
        for _ in range(chance.randint(1, 20)):
            data[chance.randrange(6000)] = chance.choice([0, 255, 48, 55, chance.randrange(256)])
        path.write_bytes(data)
        try:
            with open_tar(str(path)) as archive:
                for name in CONTENTS:
                    try:
                        archive.read(name)
                    except Unsuitable as error:
                        num_bad += bool(str(error))
        except InputError:
            num_bad += 1
    assert num_bad > 100


@pytest.mark.slow
def test_the_index_of_a_large_archive_is_small(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("0000000.jpg").tobuf(tarfile.USTAR_FORMAT)[:BLOCK])
    with open(tmp_path / "a.tar", "wb") as file:
        for number in range(100_000):
            header[:7] = b"%07d" % number
            header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
            file.write(header)
        file.write(bytes(2 * BLOCK))
    code = (
        "import sys, resource\n"
        "from skymetal.engine.sources.tar import open_tar\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with open_tar(sys.argv[1]) as archive:\n"
        "    assert archive.read('0099999.jpg') == b'' and len(archive.keys_N) == 100000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.tar")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=25)
    assert int(result.stdout) < 16 << 10, "kilobytes for 100 000 members"
