import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_stubs import Data, prepared, some_images

from fedunlearn.data import DATASETS, cache_root, open_dataset, prepare
from fedunlearn.errors import DataError, ScenarioError

# A data set that takes its time and writes down each time that it is read.
SLOW = """
import sys, time
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[3])
from data_stubs import Data
from fedunlearn.data import DATASETS, open_dataset, prepare
from fedunlearn.data.sources import Part, Source
cache, seconds = Path(sys.argv[1]), float(sys.argv[2])
@DATASETS.register("slow")
def slow():
    with (cache / "reads.txt").open("a") as log:
        log.write("read\\n")
    print("reading", flush=True)
    time.sleep(seconds)
    return Source(Part("slow", np.full((6, 1, 4, 4), 255, np.uint8), np.arange(6) % 2))
dataset = open_dataset(prepare(Data(name="slow"), cache))
assert dataset.images(range(6)).sum() == 96 and len(dataset) == 6
print(dataset.folder)
"""


def start(cache: Path, seconds: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", SLOW, str(cache), str(seconds), str(Path(__file__).parent)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def archive(tmp_path):
    file = tmp_path / "own.npz"
    np.savez(file, images=some_images(4, 5, 6), labels=np.array([0, 1, 1, 0]))
    return file


def test_the_second_time_no_source_is_read(tmp_path, monkeypatch):
    folder = prepare(Data(), tmp_path)
    written = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    monkeypatch.setattr(DATASETS["digits"], "__code__", (lambda: 1 / 0).__code__)
    assert prepare(Data(), tmp_path) == folder
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == written
    assert set(written) == {"x.npy", "y.npy", "meta.json"}


def test_how_the_data_are_split_does_not_matter_to_the_cache(tmp_path):
    assert prepare(Data(test=0.5, train=10), tmp_path) == prepare(Data(), tmp_path)


def test_a_file_of_the_user_is_not_opened_again(archive, tmp_path):
    cache = tmp_path / "cache"
    first = prepared(archive, "npz", cache)
    times = archive.stat()
    archive.write_bytes(b"\0" * times.st_size)  # unreadable now, but of the same size and time
    os.utime(archive, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert prepared(archive, "npz", cache) is first


def test_a_file_that_changed_is_read_again(archive, tmp_path):
    cache = tmp_path / "cache"
    before = prepared(archive, "npz", cache)
    np.savez(archive, images=some_images(3, 5, 6), labels=np.array([0, 1, 1]))
    after = prepared(archive, "npz", cache)
    assert (len(before), len(after)) == (4, 3)


def test_two_processes_at_once_read_the_source_once(tmp_path):
    both = [start(tmp_path, 0.5), start(tmp_path, 0.5)]
    outputs = [process.communicate(timeout=60)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0][-1] == outputs[1][-1]
    assert (tmp_path / "reads.txt").read_text() == "read\n"


def test_after_a_kill_in_the_middle_it_starts_afresh(tmp_path):
    victim = start(tmp_path, 60)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "reading\n"
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert list(tmp_path.glob(".slow-*.partial"))  # half a data set lies about, under no name that anybody opens
    assert not list(tmp_path.glob("slow-*"))
    second = start(tmp_path, 0)
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert not list(tmp_path.glob(".slow-*"))


def test_a_source_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "own.npz").write_bytes(b"no archive")
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match=r"own\.npz: not an \.npz archive"):
        prepared(tmp_path / "own.npz", "npz", cache)
    assert [entry.name for entry in cache.iterdir()] == [".locks"]


def test_a_missing_folder_is_named_with_its_nearest_neighbour(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r'data\.path = ".*pictres": no such file or folder; did you mean ".*pictures"'):
        prepared(tmp_path / "pictres", "imagefolder", tmp_path / "cache")


def test_an_unreadable_folder_is_named(tmp_path, monkeypatch):
    def forbidden(path):  # what the system says to everybody but root
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(DataError, match=rf"^{tmp_path}: Permission denied$"):
        prepared(tmp_path, "idx", tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"cache.*: Not a directory"):
        prepare(Data(), tmp_path / "cache")


def test_an_unknown_format_is_refused(archive, tmp_path):
    with pytest.raises(ScenarioError, match='unknown data format "npy"; did you mean "npz"'):
        prepared(archive, "npy", tmp_path / "cache")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDUNLEARN_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    assert prepare(Data()).parent == tmp_path
    monkeypatch.delenv("FEDUNLEARN_CACHE")
    assert cache_root() == Path.home() / ".cache" / "fedunlearn"


def test_opening_a_path_of_the_same_name_elsewhere_gives_other_data(tmp_path):
    for place, count in (("here", 2), ("there", 3)):
        (tmp_path / place).mkdir()
        np.savez(tmp_path / place / "own.npz", images=some_images(count, 4, 4), labels=np.arange(count))
    folders = [prepare(Data(name="own", path=str(tmp_path / p), format="npz"), tmp_path) for p in ("here", "there")]
    assert [len(open_dataset(folder)) for folder in folders] == [2, 3]
