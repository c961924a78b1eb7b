"""What numba compiles is kept where this user alone can write, or not at all."""

from pathlib import Path

import pytest

import maquette

numba = pytest.importorskip("numba")

from maquette.nets.machine_code import keep  # noqa: E402


def compiled(folder: Path | None) -> list[str]:
    """Names of the files in it, once a function that is kept there was called."""

    @numba.njit
    def double(x):
        return 2 * x

    before = numba.config.CACHE_DIR
    keep(double, folder)
    assert double(4) == 8
    assert before == numba.config.CACHE_DIR
    return sorted(path.suffix for path in (folder or Path("/nowhere")).rglob("*.nb?"))


def test_it_is_kept_from_one_process_to_the_next(tmp_path: Path) -> None:
    assert compiled(tmp_path / "new" / "kept") == [".nbc", ".nbi"]
    assert compiled(None) == []


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("left", [0, 40])
def test_what_was_cut_off_is_compiled_anew(suffix: str, left: int, tmp_path: Path) -> None:
    compiled(tmp_path / "kept")
    (file,) = (tmp_path / "kept").rglob(f"*{suffix}")
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    assert compiled(tmp_path / "kept") == [".nbc", ".nbi"]
    assert len(file.read_bytes()) >= 0.9 * len(whole)


def test_what_cannot_be_kept_is_compiled_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*written: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "save", full)
    assert compiled(tmp_path / "kept") == []


def test_it_is_not_kept_where_others_could_have_written(tmp_path: Path) -> None:
    open_to_all = tmp_path / "all"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (tmp_path / "file").touch()
    assert compiled(open_to_all) == compiled(tmp_path / "file" / "none") == []
    assert not list(Path(maquette.__file__).parent.rglob("*.nb?"))  # where numba would put it
    assert not list(Path(__file__).parent.rglob("*.nb?"))
