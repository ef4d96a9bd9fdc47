"""`gd2fs doctor`: the machine as it is, and the deployment that it reaches or not."""
import json
import os
import shutil
import subprocess

import pytest


def doctor(deployment, *arguments, code=0):
    text = deployment.run("doctor", "--json", *arguments, code=code)
    answer = json.loads(text)
    assert answer["missing"] == sum(each["level"] == "missing" for each in answer["findings"])
    assert (answer["missing"] == 0) == (deployment.last.returncode == 0)
    return answer["findings"]


def about(findings, start):
    return [each for each in findings if each["subject"].startswith(start)]


def test_a_running_deployment_is_reached_over_the_network_and_by_shared_memory(deployment):
    findings = doctor(deployment)
    [controller] = about(findings, "controller ")
    assert controller["level"] == "ok" and " ms" in controller["found"]
    servers = about(findings, "server 1 ")
    paths = [each["found"].split(" over ")[1].split()[0] for each in servers]
    assert paths == (["tcp"] if os.environ.get("GD2FS_SHM") == "off" else ["tcp", "shm"])
    assert all(each["level"] == "ok" for each in servers)


def test_a_server_that_is_down_and_a_controller_that_is_not_there_are_found(make_deployment):
    deployment = make_deployment(split=True).start()
    deployment.server.kill()
    findings = doctor(deployment, code=1)
    [server] = about(findings, "server 1")
    assert server["level"] == "missing" and server["remedy"]
    deployment.controller.kill()
    [controller] = about(doctor(deployment, code=1), "controller ")
    assert controller["level"] == "missing" and controller["remedy"]


def test_a_controller_that_nobody_named_may_be_absent(make_deployment):
    deployment = make_deployment()
    environment = deployment.env()
    del environment["GD2FS_CPADDR"]
    (deployment.home / ".config/gd2fs").mkdir(parents=True)
    done = deployment.run("doctor", "--json", "--offline", env=environment)
    assert not [each for each in json.loads(done)["findings"] if each["area"] == "servers"]


def test_a_wrong_token_is_said(deployment):
    token = deployment.token_file.read_text()
    wrong = deployment.place / "wrong"
    wrong.write_text(token.translate(str.maketrans("0123456789abcdef", "123456789abcdef0")))
    wrong.chmod(0o600)
    [controller] = about(doctor(deployment, "--token-file", str(wrong), code=1), "controller ")
    assert controller["level"] == "missing" and "GD2FS_TOKEN_FILE" in controller["remedy"], controller


def test_what_is_needed_and_missing_makes_the_exit_code(make_deployment):
    """On a machine without NIC, or in a namespace that shows none."""
    if os.path.isdir("/sys/class/infiniband") and os.listdir("/sys/class/infiniband"):
        pytest.skip("this machine has RDMA devices")
    deployment = make_deployment()
    assert not [each for each in doctor(deployment, "--offline") if each["level"] == "missing"]
    findings = doctor(deployment, "--offline", "--need", "rdma", "--dp", "rdma://192.0.2.1", code=1)
    for subject in ("devices", "rail 192.0.2.1"):
        [found] = about(findings, subject)
        assert found["level"] == "missing" and found["remedy"]


def test_a_denied_io_uring_and_a_limit_of_locked_memory_are_seen(make_deployment):
    deployment = make_deployment()
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    command = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", "--memlock=65536:65536",
               os.environ.get("GD2FS_BIN", "build/bin/gd2fs"), "doctor", "--offline", "--json", "--need", "rdma"]
    done = subprocess.run(command, env=deployment.env(), capture_output=True, text=True, timeout=60)
    [memlock] = about(json.loads(done.stdout)["findings"], "memlock")
    assert memlock["level"] == "missing" and "64 KiB" in memlock["found"], done.stderr


def test_people_get_lines_with_remedies(make_deployment):
    deployment = make_deployment()
    text = deployment.run("doctor", code=1)
    assert f"LACKS   controller tcp://127.0.0.1:{deployment.port}" in text
    assert "try: " in text
    assert text.endswith("needed, and missing\n")
