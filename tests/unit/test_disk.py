"""What a disk, a system or a person does to files while they are written; what is left, and what is said."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_engine import final, same, wait_for

import maquette
from kills import main as kill
from maquette.core import leftovers
from maquette.core.errors import UserError
from maquette.core.files import atomic, atomic_folder, make_folder, ready, temporary_folder, write_text
from maquette.core.held import Gone, check_held, held, in_place
from maquette.core.run import RunFolder, or_nothing
from maquette.core.sizes import as_bytes
from maquette.engine import train
from toy_job import ToyProcess, together, toy_job
from trained import Trained

# -- folders that are worked in ------------------------------------------------------------------------


def moved(run: Path) -> None:
    run.rename(run.with_name("elsewhere"))


def replaced(run: Path) -> None:
    moved(run)
    run.mkdir()


def emptied(run: Path) -> None:
    for path in run.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("happens", [moved, replaced, emptied, shutil.rmtree])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_goes_while_it_trains_stops_it(
    tmp_path: Path, happens: Callable[[Path], None], processes: int
) -> None:
    if processes == 2 and happens is not moved:
        pytest.skip("one of them is enough for two processes")
    run = tmp_path / "run"
    job = {"steps": 100_000, "pause": 0.01, "checkpoint_seconds": 1e6, "preview_every": 10**6, "log_every": 10**6}
    ours = together(run, 2, **job) if processes == 2 else [ToyProcess(run, **job)]
    wait_for(lambda: any(run.glob("checkpoints/step-*")))
    time.sleep(0.2)
    happens(run)
    assert [process.wait(20) for process in ours] == [2] * processes, "at once, and long before a checkpoint is due"
    said = "".join(process.said for process in ours)
    assert said.count("meanwhile; nothing more was written") == 1, said
    if happens in (moved, replaced):
        assert f"maquette resume {tmp_path / 'elsewhere'}" in said
    else:
        assert "removed" in said
    assert not run.exists() or not any(run.iterdir()), "no second folder grows"


def test_nothing_is_written_below_a_folder_that_went(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "samples").mkdir(parents=True)
    with held(run):
        write_text(ready(run / "figures/a.txt"), "x")
        with pytest.raises(Gone, match="elsewhere"), atomic(run / "late.txt") as temporary:
            temporary.write_text("x")
            moved(run)
        assert not any((tmp_path / "elsewhere").glob(".*")), "what was under way goes, wherever it is by now"
        for write in (
            lambda: write_text(ready(run / "new/b.txt"), "x"),
            lambda: make_folder(run / "samples"),
            lambda: write_text(run / "c.txt", "x"),
        ):
            with pytest.raises(Gone, match="elsewhere"):
                write()
        assert not run.exists()
        run.mkdir()
        with pytest.raises(Gone), or_nothing(RunFolder(run)):
            write_text(run / "c.txt", "x")
    assert run.is_dir() and not any(run.iterdir())


def test_a_folder_is_held_until_the_last_one_lets_go(tmp_path: Path) -> None:
    first, second = held(tmp_path), held(tmp_path)
    assert first.__enter__() == second.__enter__()
    first.__exit__(None, None, None)  # an evaluation in a thread, say, which ends before the training does
    assert in_place(tmp_path)
    second.__exit__(None, None, None)
    assert check_held(tmp_path) is None


def test_an_evaluation_and_a_report_of_a_run_that_goes_write_nothing(
    tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    for verb in ("evaluate", "report"):
        run = maquette.load(trained.copy(trained("image/gan-mlp"), tmp_path / verb))

        def data(run: maquette.Run, *args: object, **kwargs: object) -> None:
            run.folder.path.rename(tmp_path / f"moved-{run.folder.path.name}")
            raise UserError("no data")  # a report is made without

        monkeypatch.setattr(maquette.api.Run, "dataset", data)
        with pytest.raises(UserError):
            getattr(run, verb)(quiet=True)
        assert not run.folder.path.exists()


# -- leftovers, rights ---------------------------------------------------------------------------------


def test_what_killed_processes_left_goes_and_what_living_ones_write_stays(tmp_path: Path) -> None:
    dead, living, theirs = (
        tmp_path / name for name in (".maquette-00000000-a.json", ".maquette-11111111-b", ".b.json.x")
    )
    for path in (dead, living, theirs):
        path.write_text("x")
    (tmp_path / ".maquette-22222222-folder").mkdir()
    (tmp_path / ".maquette-33333333-link").symlink_to(theirs)
    with living.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_text(tmp_path / "new.txt", "x")
    assert {path.name for path in tmp_path.iterdir()} == {
        living.name,
        theirs.name,
        "new.txt",
        ".maquette-33333333-link",
    }


def test_a_folder_that_is_cleared_away_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[Path]()
    mkdir = Path.mkdir

    def cleared_at_once(path: Path, *args: Any, **how: Any) -> None:
        mkdir(path, *args, **how)
        made.append(path)
        if len(made) == 1:
            leftovers.clear_leftovers(tmp_path, below=True)  # as another process does

    monkeypatch.setattr(Path, "mkdir", cleared_at_once)
    with atomic_folder(tmp_path / "new") as temporary:
        (temporary / "a.txt").write_text("x")
    assert len(made) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("name", ["字" * 80 + ".txt", "x" * 251 + ".txt", os.fsdecode(b"\xe9.txt")])
def test_whatever_name_a_file_can_have_it_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "x")
    with atomic(tmp_path / name) as temporary:
        assert leftovers.is_leftover(temporary) and temporary.suffix == ".txt"
        temporary.write_text("y")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_where_no_lock_tells_leftovers_go_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(leftovers.fcntl, "flock", no_locks)
    new, old = tmp_path / ".maquette-00000000-x", tmp_path / ".maquette-11111111-x"
    earlier = tmp_path / ".weights.safetensors.k3j_2h1x.safetensors"
    for path in (new, old, earlier):
        path.write_text("x")
    os.utime(old, (0, 0))
    os.utime(earlier, (0, 0))
    write_text(tmp_path / "new.txt", "x")
    assert {path.name for path in tmp_path.iterdir()} == {new.name, "new.txt"}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_new_files_and_folders_have_the_users_own_rights(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        train(toy_job(tmp_path / "run", steps=2))
        with temporary_folder(tmp_path) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask
    finally:
        os.umask(before)
    for path in (tmp_path / "run").rglob("*"):
        if path.name not in (".lock", ".manifest.lock"):  # of filelock
            assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask, path


# -- a disk that fails ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_each_error_of_a_disk_is_a_clear_line_and_what_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    write_text(tmp_path / "file.txt", "before")

    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fails)
    if call in ("mkdir", "rename"):
        with pytest.raises(UserError, match="folder") as raised, atomic_folder(tmp_path / "folder"):
            pass
    else:
        with pytest.raises(UserError, match=r"file\.txt") as raised:
            write_text(tmp_path / "file.txt", "after")
    monkeypatch.undo()
    assert raised.value.remedy and (tmp_path / "file.txt").read_text() == "before"
    write_text(tmp_path / "another.txt", "x")
    assert {path.name for path in tmp_path.iterdir()} == {"file.txt", "another.txt"}


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(toy_job(tmp_path / "straight"))
    clock, real = iter([0, 365 * 86400, -365 * 86400] * 1000), time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(clock))
    outcome = train(toy_job(tmp_path / "run", checkpoint_seconds=1e-6))
    assert 0 <= outcome.seconds < 60 and same(final(tmp_path / "run"), final(tmp_path / "straight"))


# -- kill -9 -------------------------------------------------------------------------------------------


def test_kills_are_survived(capfd: pytest.CaptureFixture[str]) -> None:
    before = os.environ["MAQUETTE_CACHE"]
    try:
        code = kill(["--kills", "2", "--families", "gan", "--verbs", "train", "sample", "disk errors"])
    finally:
        os.environ["MAQUETTE_CACHE"] = before
    assert code == 0, capfd.readouterr().out


def test_sizes() -> None:
    assert [as_bytes(said, "x") for said in ("20GB", "4 GiB", "512MiB", "1.5g", "7", "0")] == [
        20 * 10**9, 4 * 2**30, 512 * 2**20, 1_500_000_000, 7, 0]  # fmt: skip
    for wrong in ("", "GB", "-1", "1e9", "4 PiB", "4iB", "9" * 16, "4GB 4"):
        with pytest.raises(UserError, match="x = "):
            as_bytes(wrong, "x")
