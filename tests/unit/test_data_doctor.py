"""The doctor: what is unusable is named and left out; nothing broken or hostile stops or fools it."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from test_data_sources import opened, pictures, png, put, tree

from maquette.cli.data import command
from maquette.core.errors import UserError
from maquette.data import parallel


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def bomb(side: int = 20_000) -> bytes:
    body = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + body))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + body + crc + struct.pack(">I", 0) + b"IDAT"


def hospital(root: Path) -> Path:
    """Forty healthy pictures and one of each illness."""
    whole = png(pictures(60)[59])
    sick = {
        "cat/zero.png": b"", "cat/cut.png": whole[: len(whole) // 2], "cat/text.png": b"hello",
        "dog/bomb.png": bomb(), "dog/small.png": png(pictures(1, side=5)[0]), "dog/web.jpg": b"<html>404",
    }  # fmt: skip
    return put(root, {**tree(), **sick, "dog/wrong.jpg": whole, "notes.txt": b"hello", ".DS_Store": b"x"})


def test_every_illness_is_named(tmp_path: Path, cache: Path) -> None:
    dataset = opened(hospital(tmp_path / "a"), cache)
    reasons = {entry["name"]: entry["reason"] for entry in dataset.summary["left_out"]}
    assert set(reasons) == {
        "cat/zero.png",
        "cat/cut.png",
        "cat/text.png",
        "dog/bomb.png",
        "dog/small.png",
        "dog/web.jpg",
    }
    assert reasons["cat/zero.png"] == "zero bytes"
    assert "truncated" in reasons["cat/cut.png"] or "damaged" in reasons["cat/cut.png"]
    assert "1 GiB once decoded" in reasons["dog/bomb.png"] and "too small: 5x5" in reasons["dog/small.png"]
    assert any("'dog/wrong.jpg' is named .jpg but is PNG" in w for w in dataset.summary["warnings"])
    assert len(dataset.train) + len(dataset.test) == 41 == dataset.summary["used"]
    assert dataset.summary["found"] == 47 and dataset.summary["ignored"] == ["notes.txt"]
    used = {*dataset.train.names, *dataset.test.names}
    assert not used & set(reasons) and "dog/wrong.jpg" in used
    json.dumps(dataset.summary)
    again = opened(tmp_path / "a", cache)
    assert again.summary["from_cache"] and again.summary["left_out"] == dataset.summary["left_out"]


def test_strict_stops_first_time_and_from_the_cache(tmp_path: Path, cache: Path) -> None:
    hospital(tmp_path / "a")
    for _ in range(2):
        with pytest.raises(UserError, match="cannot be used"):
            opened(tmp_path / "a", cache, strict=True)
        opened(tmp_path / "a", cache)  # now it is in the cache
    put(tmp_path / "b", tree())
    assert len(opened(tmp_path / "b", cache, strict=True).train)


def test_a_picture_under_another_name_is_found(tmp_path: Path, cache: Path) -> None:
    files = {name.replace(".png", ".dat"): data for name, data in tree().items()}
    dataset = opened(put(tmp_path / "a", files), cache)
    assert len(dataset.train) + len(dataset.test) == 40
    few, suffixes = dataset.summary["warnings"]
    assert "pictures to learn from are few" in few
    assert suffixes.startswith("40 pictures are named .dat but are PNG (") and "and 37 more" in suffixes


@pytest.mark.parametrize(("n", "says"), [(1, "one usable"), (4, "4 usable")])
def test_next_to_nothing(tmp_path: Path, cache: Path, n: int, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        opened(put(tmp_path / "a", {f"{i}.png": png(p) for i, p in enumerate(pictures(n))}), cache)
    assert "at least 5" in caught.value.remedy


def test_only_broken_files(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError, match=r"No picture is usable in .* \(9 left out: zero bytes\)"):
        opened(put(tmp_path / "a", {f"{i}.png": b"" for i in range(9)}), cache)


def test_hostile_names(tmp_path: Path, cache: Path) -> None:
    names = [b"a\nb.png", b"[red]x[-red].png", b"\xff\xfe.png", b"<script>.png", "猫.png".encode(), b"\x1b[31m.png"]
    root = tmp_path / "odd"
    for i, p in enumerate(pictures(12)):
        folder = os.fsencode(root) + (b"/[bold]cl\xe9s\n" if i % 2 else b"/b")
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - bytes
        with open(folder + b"/%d" % i + names[i % 6], "wb") as file:  # noqa: PTH123
            file.write(png(p))
    with open(os.fsencode(root) + b"/b/\xff[]\n.png", "wb"):  # noqa: PTH123 - broken as well
        pass
    dataset = opened(root, cache)
    for name in (*dataset.train.names, *dataset.test.names, *dataset.train.columns["label"].spec.classes):
        assert name.isprintable() and name.encode()
    json.dumps(dataset.summary, ensure_ascii=False).encode()
    result = CliRunner().invoke(command, ["inspect", str(root), "-o", str(tmp_path / "p.png")], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "[bold]" in result.output and "\x1b[31m" not in result.output


def test_link_loops_and_dead_links(tmp_path: Path, cache: Path) -> None:
    root = put(tmp_path / "a", tree())
    (root / "cat" / "loop").symlink_to(root)
    (root / "cat" / "dead.png").symlink_to(root / "nowhere.png")
    (root / "dog" / "secret.png").write_bytes(b"x")
    dataset = opened(root, cache)
    assert len(dataset.train) + len(dataset.test) == 40
    assert {e["name"] for e in dataset.summary["left_out"]} >= {"dog/secret.png"}


def test_sizes(tmp_path: Path, cache: Path) -> None:
    mixed = {f"{i}.png": png(p) for i, p in enumerate(pictures(20, side=40))}
    mixed |= {f"wide{i}.png": png(np.pad(p, ((0, 0), (3, 9)))) for i, p in enumerate(pictures(20, side=30))}
    mixed["tiny.png"] = png(pictures(1, side=8)[0])
    dataset = opened(put(tmp_path / "mixed", mixed), cache)
    assert dataset.train.columns["image"].spec.shape == (1, 32, 32)
    assert any("data.image.size" in note for note in dataset.summary["notes"])
    asked = opened(tmp_path / "mixed", cache, size=(48, 36))
    assert asked.train.columns["image"].spec.shape == (1, 48, 36)
    assert "too small: 8x8 px for a target of 48x36" in asked.summary["left_out"][0]["reason"]
    mostly = {f"{i}.png": png(p) for i, p in enumerate(pictures(40, side=21))} | {"odd.png": mixed["0.png"]}
    assert opened(put(tmp_path / "mostly", mostly), cache).train.columns["image"].spec.shape == (1, 21, 21)
    large = {f"{i}.png": png(p) for i, p in enumerate(pictures(8, side=300))}
    assert opened(put(tmp_path / "large", large), cache).train.columns["image"].spec.shape == (1, 64, 64)
    with pytest.raises(UserError, match="too small"):
        opened(put(tmp_path / "mostly", {}), cache, size=(256, 256))


def test_mixed_colours(tmp_path: Path, cache: Path) -> None:
    files = {f"g{i}.png": png(p) for i, p in enumerate(pictures(20))}
    assert opened(put(tmp_path / "a", files), cache).train.columns["image"].spec.shape[0] == 1
    for i, p in enumerate(pictures(25, channels=3)):
        put(tmp_path / "a", {f"c{i}.png": png(p)})
        dataset = opened(tmp_path / "a", cache) if i in (3, 24) else None
        if dataset is not None:
            assert dataset.train.columns["image"].spec.shape[0] == (1 if i == 3 else 3)
            assert sum("Colours are mixed" in note for note in dataset.summary["notes"]) == 1
    clear = Image.fromarray(pictures(31)[30]).convert("RGBA")
    clear.putalpha(Image.fromarray(pictures(30)[29]))
    clear.save(tmp_path / "a" / "clear.png")
    dataset = opened(tmp_path / "a", cache)
    assert dataset.train.columns["image"].spec.shape[0] == 3
    assert any("1 rgba): all become rgb, what is transparent on white;" in note for note in dataset.summary["notes"])
    assert opened(tmp_path / "a", cache, channels="rgba").train.columns["image"].spec.shape[0] == 4


def test_workers_give_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = hospital(tmp_path / "a")
    put(root, {f"cat/more{i}.png": png(p) for i, p in enumerate(pictures(450, side=10))})
    results = []
    for cores, platform in ((1, "linux"), (2, "linux"), (2, "darwin")):
        monkeypatch.setattr(parallel, "_cores", lambda cores=cores: cores)
        monkeypatch.setattr(parallel.sys, "platform", platform)
        dataset = opened(root, tmp_path / f"cache-{cores}-{platform}", size=(16, 16))
        results.append((dataset.fingerprint, dataset.train.names, dataset.summary["left_out"]))
    assert results[0] == results[1] == results[2]


def test_inspect_prints_tables_json_and_a_preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    root, runner = hospital(tmp_path / "pets"), CliRunner()
    result = runner.invoke(command, ["inspect", str(root), "-o", str(tmp_path / "p.png")], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    for word in ("zero bytes", "cat/zero.png", "41 usable", "cat", "dog", "named .jpg but is PNG"):
        assert word in result.output
    with Image.open(tmp_path / "p.png") as img:
        assert min(img.size) > 200
    result = runner.invoke(command, ["inspect", str(root), "--size", "24x20", "--json", "-o", str(tmp_path / "q.png")])
    facts = json.loads(result.stdout)
    assert facts["columns"]["image"]["prepared"]["height"] == 24 and facts["left_out_count"] == 6
    result = runner.invoke(command, ["inspect", str(root), "--strict"])
    assert isinstance(result.exception, UserError)
