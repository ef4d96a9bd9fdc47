"""Every example of docs/api.md runs as it stands there, in a process of its own."""

import os
import re
import subprocess
import sys

import pytest
from conftest import BUILD, ROOT

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / "api.md").read_text(), re.M | re.S)
PYTHON = [text for language, text in BLOCKS if language == "python"]
C = [text for language, text in BLOCKS if language == "c"]


def run(command, stack, **options):
    environment = stack.environment()
    environment |= {"GD2FS_CPADDR": stack.address, "GD2FS_CLUSTER": stack.cluster}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_examples():
    assert len(PYTHON) >= 7 and len(C) == 1


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_a_python_example_runs_twice(real_stack, tmp_path, number):
    program = tmp_path / "example.py"
    program.write_text(PYTHON[number])
    for _ in range(2):
        run([sys.executable, "-W", "error", program], real_stack)


def test_the_c_example_compiles_as_c11_and_runs(real_stack, tmp_path):
    source = tmp_path / "example.c"
    source.write_text(C[0])
    library = BUILD / "lib"
    subprocess.run(
        ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{ROOT}/include", source, "-o",
         tmp_path / "example", f"-L{library}", "-lgd2fs", f"-Wl,-rpath,{library}"],
        check=True,
        env=dict(os.environ, LC_ALL="C"),
    )  # fmt: skip
    assert run([tmp_path / "example"], real_stack) == "hello, world (12 bytes)\n"
