"""fio with our engine (contrib/fio): random reads and writes, every byte verified."""
import json
import subprocess

from deployment import ROOT


def test_fio_finds_every_byte_that_it_wrote(deployment):
    environment = deployment.env(GD2FS_TOKEN_FILE=str(deployment.token_file))
    done = subprocess.run(["fio", "--output-format=json", f"--aux-path={deployment.place}", "contrib/fio/verify.fio"],
                          env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    [group] = json.loads(done.stdout[done.stdout.index("{"):])["jobs"]
    assert group["error"] == 0
    assert group["write"]["io_bytes"] > 400 << 20
    # What was written is read once more to be verified.
    assert group["read"]["io_bytes"] >= 1000 << 20
    assert not list(ROOT.glob("*.state")) and not list(deployment.place.glob("*.state"))


def test_fio_notices_a_byte_that_is_not_what_it_wrote(deployment, tmp_path):
    """The verification itself can fail."""
    job = (ROOT / "contrib/fio/verify.fio").read_text().split("[job2]")[0].replace("rw=randrw", "rw=write")
    (tmp_path / "job.fio").write_text(job.replace("size=256m", "size=4m"))
    environment = deployment.env(GD2FS_TOKEN_FILE=str(deployment.token_file))

    def fio(*arguments):
        return subprocess.run(["fio", f"--aux-path={tmp_path}", *arguments, str(tmp_path / "job.fio")],
                              env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert fio().returncode == 0
    deployment.run("get", "/fio-1", "file")
    data = bytearray((deployment.place / "file").read_bytes())
    data[1_000_000] ^= 1
    (deployment.place / "file").write_bytes(data)
    deployment.run("put", "file", "/fio-1")
    assert fio("--verify_only").returncode != 0
