"""docs/cli.md names every verb and every exit code that there is."""
import re
import subprocess

from deployment import GD2FS, ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()


def test_every_verb_is_on_the_page():
    text = subprocess.run([GD2FS, "--help"], capture_output=True, text=True, check=True).stdout
    verbs = re.findall(r"^  (\w+) {2,}\S", text.split("Subcommands:")[1], re.M)
    assert len(verbs) >= 20
    assert [verb for verb in verbs if not re.search(rf"`{verb}\b", PAGE)] == []


def test_every_exit_code_is_on_the_page_and_no_other():
    header = (ROOT / "src/cli/exit_code.h").read_text()
    codes = re.findall(r"kExit\w+ = (\d+),", header)
    assert len(codes) >= 10
    assert sorted(re.findall(r"^\| (\d+) \|", PAGE, re.M), key=int) == sorted(codes, key=int)
