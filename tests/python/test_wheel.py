"""`pip install .`: a wheel that brings its own libgd2fs.so and works where nothing else of GD2FS is."""

import os
import subprocess
import sys
import zipfile

import pytest
from conftest import BUILD, ROOT

PROGRAM = """
import os, pathlib, pygd2fs
package = pathlib.Path(pygd2fs.__file__).parent
assert str(package).startswith(os.environ["SITE"]), package
loaded = {line.split()[-1] for line in open("/proc/self/maps") if "libgd2fs" in line}
assert loaded == {str(package / "libgd2fs.so.1")}, loaded
with pygd2fs.Client() as client:
    client.write_from("/wheel", b"from a wheel")
    target = bytearray(12)
    assert client.read_into("/wheel", target) == 12 and target == b"from a wheel"
"""


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.timeout(1800)
def test_a_wheel_has_all_that_it_needs_and_works(real_stack, tmp_path):
    # The build folder is kept, so that a second run compiles nothing. The tests' environment has the build
    # requirements already.
    run(
        [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-build-isolation", "--no-deps",
         "--no-index", f"--config-settings=build-dir={BUILD}/wheel", "-w", tmp_path, ROOT]
    )  # fmt: skip
    [wheel] = tmp_path.glob("pygd2fs-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("pygd2fs/")}
    sources = {f"pygd2fs/{path.name}" for path in (ROOT / "python" / "pygd2fs").iterdir() if path.is_file()}
    [extension] = [name for name in names if name.startswith("pygd2fs/_pygd2fs.") and name.endswith(".so")]
    assert names == sources | {extension, "pygd2fs/libgd2fs.so.1"}
    site = tmp_path / "site"
    run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index",
         "--target", site, wheel])  # fmt: skip
    environment = dict(
        os.environ, PYTHONPATH=str(site), SITE=str(site), GD2FS_CPADDR=real_stack.address, GD2FS_CLUSTER=real_stack.cluster
    )
    environment.pop("LD_LIBRARY_PATH", None)
    run([sys.executable, "-W", "error", "-c", PROGRAM], env=environment, cwd=tmp_path)
