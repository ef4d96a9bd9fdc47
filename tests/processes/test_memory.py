"""How much memory a server uses: slab + 256 MiB + 40 bytes for each chunk at most."""
import os

CHUNK = 64 * 1024
FILE = 256 << 20
FILES = int(os.environ.get("GD2FS_MEMORY_TEST_FILES", "4"))  # 16,384 chunks by default
KEPT_PER_CHUNK = 40
FIXED = 256 << 20


def private_bytes(pid):
    """Without the slab, which is shared memory."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def test_memory_beside_the_slab_is_bounded(deployment):
    deployment.run("cluster", "create", "small", "--chunk", "64KiB", "--token-out", deployment.place / "token")
    env = deployment.env(GD2FS_CLUSTER="small", GD2FS_TOKEN_FILE=str(deployment.place / "token"))
    with open(deployment.place / "source", "wb") as source:
        for _ in range(FILE >> 24):
            source.write(os.urandom(1 << 24))
    for number in range(FILES):
        deployment.run("put", "source", f"/file-{number}", env=env)
    chunks = FILES * FILE // CHUNK
    serving = private_bytes(deployment.up.pid)
    deployment.restart()  # the index is read again
    started = private_bytes(deployment.up.pid)
    print(f"{chunks} chunks: {serving >> 20} MiB after writing, {started >> 20} MiB after a restart")
    limit = FIXED + KEPT_PER_CHUNK * chunks
    assert serving <= limit
    assert started <= limit
