"""The verbs on files: round trips, manifests, output and exit codes."""
import hashlib
import json
import os
import random
import subprocess

import pytest


def make_tree(path, seed=1):
    """A small model folder: sizes around blocks and chunks, an empty file, odd names, a link."""
    data = random.Random(seed)
    (path / "sub" / "deeper").mkdir(parents=True)
    for number, size in enumerate([0, 1, 65535, 65536, 65537, 4 << 20, (4 << 20) + 1, 20_000_003]):
        (path / f"file-{number}.bin").write_bytes(data.randbytes(size))
    (path / "sub" / "name with spaces, ünïcode and \\").write_bytes(data.randbytes(1000))
    (path / "sub" / "new\nline").write_bytes(data.randbytes(10))
    (path / "sub" / "deeper" / "config.json").write_text("{}")
    (path / "link").symlink_to("sub/deeper/config.json")
    (path / "empty").mkdir()
    return path


def contents(path):
    found = {}
    for folder, _, files in os.walk(path):
        for name in files:
            file = os.path.join(folder, name)
            if name != ".gd2fs-manifest.sha256":
                found[os.path.relpath(file, path)] = open(file, "rb").read()
    return found


@pytest.fixture
def tree(deployment):
    return make_tree(deployment.place / "model")


def test_a_directory_comes_back_as_it_was(deployment, tree):
    deployment.run("mkdir", "/models")
    assert "put 12 files" in deployment.run("put", tree, "/models/m")
    assert deployment.last.stderr == ""
    deployment.run("get", "/models/m", "back")
    assert contents(deployment.place / "back") == contents(tree)
    assert (deployment.place / "back" / "empty").is_dir()
    subprocess.run(["sha256sum", "--quiet", "-c", ".gd2fs-manifest.sha256"], cwd=deployment.place / "back", check=True)


def test_it_comes_back_from_the_drive_too(deployment, tree):
    deployment.run("put", tree, "/m")
    deployment.restart()
    deployment.run("get", "/m", "back")
    assert contents(deployment.place / "back") == contents(tree)


def test_put_again_replaces_and_targets_are_understood(deployment, tree):
    deployment.run("put", tree, "/m")
    (tree / "file-1.bin").write_bytes(b"other")
    deployment.run("put", tree, "/m")
    assert deployment.run("cat", "/m/file-1.bin") == "other"
    deployment.run("put", tree, "/m/")
    assert deployment.run("cat", "/m/model/file-1.bin") == "other"
    deployment.run("put", tree / "file-1.bin", "/m/sub")
    assert deployment.run("cat", "/m/sub/file-1.bin") == "other"
    deployment.run("put", tree / "file-1.bin", tree / "file-2.bin", "/many")
    assert deployment.run("ls", "/many") == "file-1.bin\nfile-2.bin\n"
    deployment.run("get", "/many/file-1.bin", "/many/file-2.bin", "into")
    assert (deployment.place / "into" / "file-1.bin").read_bytes() == b"other"
    deployment.run("put", tree / "file-1.bin", "/new/")
    deployment.run("get", "/new/file-1.bin", "new/")
    assert (deployment.place / "new" / "file-1.bin").read_bytes() == b"other"


def test_verify_finds_what_is_wrong_and_says_so_by_its_exit_code(deployment, tree):
    deployment.run("put", tree, "/m")
    assert "12 files, 0 of them wrong" in deployment.run("verify", "/m")
    (deployment.place / "x").write_bytes(b"not what was put")
    deployment.run("put", "x", "/m/file-2.bin")
    deployment.run("rm", "/m/file-3.bin")
    deployment.run("put", "x", "/m/extra")
    states = {entry["path"]: entry["state"] for entry in deployment.json("verify", "/m", code=1)}
    assert states["/m/file-2.bin"] == "damaged"
    assert states["/m/file-3.bin"] == "missing"
    assert states["/m/extra"] == "extra"
    assert states["/m/file-4.bin"] == "ok"
    assert "file-3.bin is missing" in deployment.errors("get", "/m", "back", code=8)


def test_a_put_that_is_cut_off_leaves_no_manifest(deployment, tree):
    deployment.run("put", tree, "/m")
    (tree / "bad").symlink_to("nowhere")
    assert "is a link to nothing" in deployment.errors("put", tree, "/m2", code=3)
    assert ".gd2fs-manifest.sha256" not in deployment.run("ls", "/")
    names = deployment.run("ls", "-r", "/m")
    assert ".gd2fs-part" not in names


def test_ls_stat_du_and_cat_agree(deployment, tree):
    deployment.run("put", tree, "/m")
    sizes = {name: len(data) for name, data in contents(tree).items()}
    listed = {entry["name"]: entry for entry in deployment.json("ls", "-r", "/m")}
    for name, size in sizes.items():
        assert listed[name]["size_bytes"] == size and listed[name]["type"] == "file", name
    assert listed["sub"]["type"] == "directory"
    stat = deployment.json("stat", "/m/file-7.bin")
    assert (stat["size_bytes"], stat["type"], stat["chunk_bytes"]) == (20_000_003, "file", 4 << 20)
    manifest = len(deployment.run("cat", "/m/.gd2fs-manifest.sha256", text=False))
    used = deployment.json("du", "/m")[0]
    assert used == {"size_bytes": sum(sizes.values()) + manifest, "files": len(sizes) + 1, "directories": 3, "path": "/m"}
    whole = deployment.run("cat", "/m/file-7.bin", text=False)
    assert hashlib.sha256(whole).digest() == hashlib.sha256((tree / "file-7.bin").read_bytes()).digest()


def test_mv_and_rm_do_as_they_say(deployment, tree):
    deployment.run("put", tree, "/m")
    deployment.run("mkdir", "-p", "/a/b/c")
    deployment.run("mv", "/m", "/a/b")
    assert "m/" in deployment.run("ls", "/a/b")
    deployment.run("mv", "/a/b/m/file-1.bin", "/a/one")
    assert deployment.json("stat", "/a/one")["size_bytes"] == 1
    deployment.run("rm", "-r", "/a")
    assert deployment.run("ls") == ""
    deployment.run("rm", "-f", "/a")


def test_many_small_files_come_back(deployment):
    folder = deployment.place / "small"
    folder.mkdir()
    for number in range(1500):
        (folder / f"{number:04}").write_text(str(number))
    deployment.run("put", folder, "/small")
    assert len(deployment.run("ls", "/small").splitlines()) == 1501
    deployment.run("get", "/small", "back")
    assert contents(deployment.place / "back") == contents(folder)


def test_exit_codes_are_those_of_the_manual(deployment):
    (deployment.place / "f").write_bytes(b"x")
    deployment.run("put", "f", "/f")
    deployment.run("mkdir", "/d")
    deployment.run("put", "f", "/d/f")
    cases = [
        (["ls", "/nope"], 3, "/nope: No such file or directory"),
        (["cat", "/d"], 2, "/d: Is a directory"),
        (["stat", "relative"], 2, "'relative': paths in a cluster begin with '/'"),
        (["mkdir", "/d"], 4, "/d: File exists"),
        (["mkdir", "/no/such/parent"], 3, "/no/such/parent"),
        (["rm", "/d"], 2, "/d is a directory; rm -r"),
        (["rm", "/nope"], 3, "/nope"),
        (["get", "/nope", "x"], 3, "/nope"),
        (["put", "nope", "/x"], 3, "nope"),
        (["cluster", "create", deployment.cluster], 4, deployment.cluster),
        (["cluster", "rm", "nope"], 3, "nope"),
        (["--cluster", "nope", "ls"], 5, "nope"),
        (["--set", "slap=1", "ls"], 2, "did you mean 'slab'?"),
        (["--cp", "gd2fs://127.0.0.1:1", "ls"], 7, "127.0.0.1:1"),
        (["no-such-verb"], 2, ""),
        (["ls", "--no-such-flag"], 2, ""),
        ([], 2, ""),
    ]
    for arguments, code, words in cases:
        deployment.run(*arguments, code=code)
        assert words in deployment.last.stderr, (arguments, deployment.last.stderr)
    deployment.run("--help")
    deployment.run("put", "--help")


def test_a_quota_ends_writing_before_it_is_passed(deployment):
    (deployment.place / "big").write_bytes(os.urandom(3 << 20))
    deployment.run("cluster", "create", "small", "--quota", "8MiB")
    deployment.run("--cluster", "small", "put", "big", "/one")
    deployment.run("--cluster", "small", "put", "big", "/two")
    errors = deployment.errors("--cluster", "small", "put", "big", "/three", code=6)
    assert "quota" in errors and "/three" in errors
    assert deployment.run("--cluster", "small", "cat", "/one", text=False) == (deployment.place / "big").read_bytes()
    deployment.run("cluster", "set", "small", "--quota", "16MiB")
    deployment.run("--cluster", "small", "put", "big", "/three")
    deployment.run("cluster", "rm", "small", code=4)
    deployment.run("--cluster", "small", "rm", "-r", "/one", "/two", "/three")
    deployment.run("cluster", "rm", "small")
    assert [cluster["name"] for cluster in deployment.json("cluster", "ls")] == [deployment.cluster]


def test_the_address_may_name_the_cluster(deployment):
    deployment.run("cluster", "create", "other")
    deployment.run("--cluster", "other", "mkdir", "/here")
    env = deployment.env()
    del env["GD2FS_CLUSTER"]
    assert deployment.run("--cp", deployment.address + "?cluster=other", "ls", env=env) == "here/\n"


def test_config_check_and_print(deployment):
    file = deployment.place / "gd2fs.toml"
    file.write_text("slab = '1GiB'\n[server]\nstall = '9s'\n")
    deployment.run("--config", file, "config", "check")
    shown = {entry["key"]: entry for entry in json.loads(deployment.run("--config", file, "config", "print", "-o", "json"))}
    assert shown["server.stall"]["value"] == '"9s"' and shown["server.stall"]["from"] == f"{file}:3"
    assert shown["client.cp"]["from"] == "GD2FS_CPADDR"
    file.write_text("[server]\nstal = '9s'\n")
    assert f"{file}:2: unknown setting 'server.stal'" in deployment.errors("--config", file, "config", "check", code=2)
    copy = deployment.place / "printed.toml"
    copy.write_text(deployment.run("--set", "slab=3GiB", "config", "print"))
    assert 'slab = "3GiB"' in deployment.run("--config", copy, "config", "print")
