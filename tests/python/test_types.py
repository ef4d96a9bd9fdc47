"""The type stubs: callers' programs check, wrong ones do not, and the stub matches the extension."""

import ast
import pathlib
import subprocess
import sys
import textwrap

import pytest
from conftest import ROOT

PACKAGE = ROOT / "python" / "pygd2fs"


def mypy(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir=/dev/null", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT / "python",
        timeout=600,
        **options,
    )


@pytest.mark.timeout(600)
def test_the_package_and_a_callers_program_check_and_a_wrong_one_does_not(tmp_path):
    good = tmp_path / "good.py"
    good.write_text(
        textwrap.dedent(
            """
            import asyncio
            import pygd2fs

            async def load(client: pygd2fs.Client, iomem: pygd2fs.IOMEM) -> int:
                sge = pygd2fs.SGE(iomem.address, iomem.length, iomem)
                requests = await asyncio.gather(*[client.ReadAsync("/x", i, [sge], 0) for i in range(3)])
                return sum(request.Value() for request in requests)

            with pygd2fs.Client("gd2fs://a", "tcp://b", "c", 1, 1, 1) as client:
                iomem = client.RegIOMEM(4096, 10)
                request: pygd2fs.Request = client.Read("/x", 0, [pygd2fs.SGE(4096, 10, iomem)], 0, "d")
                done: list[pygd2fs.Request] = client.Wait(-1)
                bits: tuple[bool, int, int, int] = pygd2fs.InspectStatus(request.Status())
                size: int = client.Stat("/x").size
                names: list[str] = [entry.name for entry in client.Readdir("/")]
                count: int = client.read_into("/x", bytearray(10))
                client.DeregIOMEM(iomem)
            """
        )
    )
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import pygd2fs\n"
        "client = pygd2fs.Client()\n"
        "client.Wait('soon')\n"
        "client.Read('/x', 0, [1], 0, 'd')\n"
        "client.Raed('/x')\n"
        "client.Stat('/x').sise\n"
        "pygd2fs.SGE(1, 2)\n"
    )
    checked = mypy("pygd2fs", str(good))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = mypy(str(wrong))
    wrong_lines = {line.split(":")[1] for line in checked.stdout.splitlines() if ": error:" in line}
    assert wrong_lines == {"3", "4", "5", "6", "7"}, checked.stdout


def test_the_stub_names_what_the_extension_has_and_nothing_else(fake_stack):
    extension = sys.modules[f"{fake_stack.gd2fs.__name__}._pygd2fs"]
    stub = ast.parse((PACKAGE / "_pygd2fs.pyi").read_text())
    stubbed = {}
    for node in stub.body:
        if isinstance(node, ast.ClassDef) and node.name != "_Array":
            # How a buffer is told to type checkers is no attribute before Python 3.12.
            slots = {"__len__", "__buffer__"}
            stubbed[node.name] = {item.name for item in node.body if isinstance(item, ast.FunctionDef)} - slots
        elif isinstance(node, ast.FunctionDef):
            stubbed[node.name] = None
        elif isinstance(node, ast.AnnAssign):
            stubbed[node.target.id] = None
    actual = {}
    for name, value in vars(extension).items():
        if name.startswith("__") or name.startswith("_pybind11"):
            continue
        members = None
        if isinstance(value, type):
            ignored = {"__repr__", "__doc__", "__module__", "__new__"}
            members = {
                member
                for member in vars(value)
                if member not in ignored and not member.startswith("_pybind11") and (member == "__init__" or not member.startswith("__"))
            }
            # pybind11 gives every class an __init__, which says that it cannot be called from Python.
            if value.__name__ in ("IOMEM", "FileView", "Request", "_Hold"):
                members.discard("__init__")
        actual[name] = members
    assert stubbed == actual


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()
    assert pathlib.Path(PACKAGE / "_pygd2fs.pyi").exists()
