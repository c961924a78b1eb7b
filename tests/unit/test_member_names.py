"""Names inside of archives read as they were written, whatever system wrote them; a guess is said."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.data.archive import Archive
from maquette.data.member_names import decoded


class Foreign(zipfile.ZipInfo):
    """A member whose name is written in another encoding, without the flag of UTF-8."""

    encoding = "gbk"

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode(self.encoding), self.flag_bits & ~0x800


def zipped(path: Path, names: list[str], encoding: str) -> Archive:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            info = Foreign(name)
            info.encoding = encoding
            archive.writestr(info, name.encode())
    return Archive(path)


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gbk", ["狗/0.png", "猫/1.png"]), ("gbk", ["饕餮/1.png", "麒麟/2.png"]), ("gbk", ["新建文件夹/图片1.png"]),
        ("big5", ["狗/1.png", "貓/0.png"]), ("cp932", ["犬/1.png", "猫/0.png"]), ("cp932", ["ねこ/表.png"]),
        ("cp949", ["개/2.png", "고양이/1.png"]),
        ("cp437", ["Käse/1.png", "Straße/3.png"]), ("cp850", ["Rød grød/1.png"]),
        ("cp1252", ["Château/1.png", "élève/3.png"]), ("cp866", ["кошка/1.png", "собака/2.png"]),
        ("cp1251", ["Кошки/1.png", "Собаки/2.png"]), ("cp1250", ["łąka/1.png", "źródło/2.png"]),
        ("utf-8", ["猫/1.png", "犬/1.png"]),
    ],
)  # fmt: skip
def test_names_without_a_flag(tmp_path: Path, encoding: str, names: list[str]) -> None:
    made = zipped(tmp_path / "a.zip", names, encoding)
    assert list(made.names) == sorted(names)
    assert made.payloads(range(len(names))) == [name.encode() for name in made.names]
    assert bool(made.notes) == (encoding != "utf-8"), "what is guessed is said"


@given(st.sampled_from(["gbk", "big5", "cp932", "cp949", "utf-8"]), st.data())
def test_frequent_characters_of_the_east_are_told_apart_from_the_west(encoding: str, data: st.DataObject) -> None:
    """Many short names of one language are never taken for letters of Europe."""
    words = {"gbk": "猫狗人物风景花草山水图片", "big5": "貓狗人物風景花草山水圖片", "cp932": "ねこいぬ写真花山",
             "cp949": "고양이강아지사진꽃산", "utf-8": "猫いéж"}[encoding]  # fmt: skip
    names = data.draw(st.lists(st.text(words, min_size=2, max_size=6), min_size=4, max_size=9, unique=True))
    made, notes = decoded([f"{name}/{i}.png".encode(encoding) for i, name in enumerate(names)])
    assert all(ord(char) > 0x2000 or encoding == "utf-8" for name in made for char in name if not char.isascii())
    assert len(notes) == (encoding != "utf-8")


@given(st.lists(st.text("ab. é猫", min_size=1, max_size=5), min_size=1, max_size=4), st.sampled_from("/\\"))
def test_folders_are_folders_however_they_are_separated(parts: list[str], separator: str) -> None:
    want = "/".join(part for part in parts if part not in (".", ".."))
    for before in ("", f".{separator}", f"..{separator}", separator, f"C:{separator}"):
        assert decoded([before + separator.join(parts)])[0] == [want]


def test_folders_that_windows_writes_are_no_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("cats\\", "cats\\1.png", "dogs\\2.png"):
            archive.writestr(zipfile.ZipInfo(name), b"" if name.endswith("\\") else b"x")
    assert Archive(tmp_path / "a.zip").names == ["cats/1.png", "dogs/2.png"]


def test_a_name_that_is_also_said_in_utf8(tmp_path: Path) -> None:
    info = Foreign("猫/1.png")
    name = "猫/1.png".encode()
    extra = struct.pack("<BI", 1, zlib.crc32("猫/1.png".encode("gbk"))) + name
    info.extra = struct.pack("<HHH", 0x9999, 2, 0) + struct.pack("<HH", 0x7075, len(extra)) + extra
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, b"x")
    made = Archive(tmp_path / "a.zip")
    assert made.names == ["猫/1.png"] and not made.notes


def test_a_tar_with_latin_names(tmp_path: Path) -> None:
    names = ["Café/1.png", "Über/2.png"]
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    made = Archive(tmp_path / "a.tar")
    assert list(made.names) == names and "Windows-1252" in made.notes[0]
