"""Full disks, damaged bytes, lost indexes."""
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

import library
from deployment import Failed


@pytest.fixture
def small_disk(place):
    """A file system of 256 MiB on a loop device."""
    if os.geteuid() != 0:
        pytest.fail("mounting a small disk needs root")
    image, mount = place / "image", place / "mount"
    with open(image, "wb") as out:
        out.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mount.mkdir()
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def test_a_full_disk_is_enospc_and_what_was_acknowledged_stays(make_deployment, small_disk, place):
    deployment = make_deployment("--drive", small_disk / "drive", "--set", "store.data_file=16MiB",
                                 "--set", "store.reserve=16MiB").start()
    piece = os.urandom(8 << 20)
    (place / "piece").write_bytes(piece)
    put = 0
    while deployment.run("put", place / "piece", f"/{put}", code=None) or deployment.last.returncode == 0:
        put += 1
        assert put < 40, "the disk never filled"
    assert deployment.last.returncode == 6, deployment.last.stderr
    assert "full" in deployment.last.stderr and f"/{put}" in deployment.last.stderr
    assert put >= 10
    for number in range(put):
        assert deployment.run("cat", f"/{number}", text=False) == piece
    deployment.restart()
    for number in range(put):
        assert deployment.run("cat", f"/{number}", text=False) == piece
    # Space comes back, and service resumes.
    deployment.run("rm", "/0", "/1", "/2")
    deployment.run("put", place / "piece", "/again")
    assert deployment.run("cat", "/again", text=False) == piece
    assert "0 damaged blocks" in deployment.run("scrub")


def test_a_hung_drive_is_set_aside_the_rest_serves_and_all_is_there_when_it_answers_again(make_deployment, small_disk, place):
    deployment = make_deployment("--drive", small_disk / "drive", "--drive", place / "other", "--set", "store.data_file=16MiB",
                                 "--set", "store.reserve=16MiB", "--set", "store.deadline=2s").start()
    pieces = {f"/{number}": os.urandom(1 << 20) for number in range(16)}

    def put(path, code=0):
        (place / "piece").write_bytes(pieces[path])
        deployment.run("put", place / "piece", path, code=code)
        return deployment.last.returncode == 0

    for path in pieces:
        put(path)
    subprocess.run(["fsfreeze", "--freeze", small_disk], check=True)  # from now on no write to it ends
    try:
        # Whichever waits for the hung drive ends in time, and the drive gets no more work.
        began = time.monotonic()
        pieces |= {f"/new-{number}": os.urandom(1 << 20) for number in range(16)}
        acknowledged = [path for path in pieces if path.startswith("/new-") and put(path, code=None)]
        assert time.monotonic() - began < 60
        assert len(acknowledged) >= 12, "the drive that works did not take over"
        assert "is set aside" in deployment.log.read_text()
        readable = [path for path in pieces if deployment.run("cat", path, code=None, text=False) == pieces[path]]
        assert set(acknowledged) <= set(readable)
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", small_disk], check=True)
    code, _ = deployment.up.stop()
    assert code != 0, "nobody is told that a drive could not be closed"
    deployment.start()
    for path in [path for path in pieces if not path.startswith("/new-")] + acknowledged:
        assert deployment.run("cat", path, text=False) == pieces[path], path
    assert "0 damaged blocks" in deployment.run("scrub")


def test_a_lost_drive_is_replaced_and_given_up(make_deployment, place):
    first, second = place / "first", place / "second"
    deployment = make_deployment("--drive", first, "--drive", second, "--set", "store.data_file=16MiB").start()
    files = {f"/{number}": os.urandom(100_000) for number in range(24)}

    def put(path, contents):
        (place / "piece").write_bytes(contents)
        deployment.run("put", place / "piece", path, code=None)
        return deployment.last.returncode == 0

    def served():
        return {path for path in files if deployment.run("cat", path, code=None, text=False) == files[path]}

    def missing():
        return deployment.json("status")["servers"][0]["counters"]["gd2fs_store_drives_missing"]

    for path in files:
        assert put(path, files[path])
    deployment.kill()
    shutil.rmtree(second)
    deployment.start()  # an empty drive is in its place
    whole = served()
    assert 0 < len(whole) < len(files)
    assert not all(put(f"/refused-{number}", b"x") for number in range(8)), "a chunk may be written twice"
    assert missing() == 1
    uuid = re.search("drive ([0-9a-f]{32}) of this store is missing", deployment.log.read_text())[1]
    deployment.stop()
    deployment.arguments += ["--forget-drive", uuid]
    for _ in range(2):  # the flag may stay
        deployment.start()
        assert served() == whole and missing() == 0
        lost = sorted(set(files) - whole)
        assert deployment.errors("cat", lost[0], code=8)
        new = {f"/new-{number}": os.urandom(100_000) for number in range(24)}
        for path, contents in new.items():
            assert put(path, contents), deployment.last.stderr
            assert deployment.run("cat", path, text=False) == contents
        assert put(lost[-1], files[lost[-1]]), deployment.last.stderr
        whole.add(lost[-1])
        deployment.kill()
    deployment.arguments[-1] = uuid[::-1]
    with pytest.raises(Failed, match="none of this store's drives"):
        deployment.start()


def data_files(deployment):
    return sorted(path for path in (deployment.data / "drive").rglob("*") if path.is_file() and "data" in str(path))


def flip(path, offset):
    with open(path, "r+b", buffering=0) as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x40]))


def find_bytes(deployment, wanted):
    """The data file and offset where these bytes lie."""
    for path in data_files(deployment):
        with open(path, "rb") as file:
            base = 0
            while block := file.read(16 << 20):
                at = block.find(wanted)
                if at >= 0:
                    return path, base + at
                base += len(block)
    raise AssertionError("the bytes are on no drive")


def test_a_flipped_byte_is_an_error_that_names_the_file_never_wrong_bytes(deployment, place):
    bad, good = os.urandom(1 << 20), os.urandom(1 << 20)
    (place / "bad").write_bytes(bad)
    (place / "good").write_bytes(good)
    deployment.run("put", place / "bad", "/bad")
    deployment.run("put", place / "good", "/good")
    deployment.stop()
    path, offset = find_bytes(deployment, bad[300_000:300_064])
    flip(path, offset)
    deployment.start()
    assert "/bad" in deployment.errors("cat", "/bad", code=8).replace(bad.decode("latin1"), "")
    assert deployment.run("cat", "/good", text=False) == good
    assert "damaged" in deployment.run("verify", "/", code=1)
    # Blocks that are whole are still served.
    ctx = library.Ctx(deployment.address, deployment.cluster, deployment.token_file)
    assert ctx.read("/bad", 0, 65536) == bad[:65536]
    with pytest.raises(library.Error) as failed:
        ctx.read("/bad", 262144, 65536)
    assert failed.value.code == 5
    ctx.close()
    assert "damaged" in deployment.run("scrub", code=1)
    # Written again it is whole again.
    deployment.run("put", place / "bad", "/bad")
    deployment.run("scrub")
    assert deployment.run("cat", "/bad", text=False) == bad


def test_a_lost_index_is_built_again_with_nothing_lost_and_nothing_back(deployment, place):
    files = {}
    for number in range(30):
        files[f"/f{number}"] = os.urandom(50_000 + number)
        (place / "x").write_bytes(files[f"/f{number}"])
        deployment.run("put", place / "x", f"/f{number}")
    for number in range(0, 30, 3):
        deployment.run("rm", f"/f{number}")
        del files[f"/f{number}"]
    deployment.stop()
    removed = [path for path in pathlib.Path(deployment.data / "drive").iterdir()
               if path.is_file() and "index" in path.name]
    assert removed, list((deployment.data / "drive").iterdir())
    for path in removed:
        path.unlink()
    deployment.start()
    for path, contents in files.items():
        assert deployment.run("cat", path, text=False) == contents
    assert sorted(deployment.run("ls").split()) == sorted(path[1:] for path in files)
    deployment.run("scrub")
