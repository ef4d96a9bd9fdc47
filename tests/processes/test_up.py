"""`gd2fs up`: starting, stopping, and what it refuses."""
import os
import signal
import socket
import stat
import time

import pytest

from deployment import Deployment, Failed


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_prints_one_ready_line_and_stops_clean_on_sigterm(deployment):
    code, rest = deployment.up.stop()
    assert (code, rest) == (0, "")


def test_stops_clean_on_sigint(deployment):
    deployment.up.process.send_signal(signal.SIGINT)
    assert deployment.up.process.wait(timeout=60) == 0


def test_secrets_are_for_their_owner_only(deployment):
    for path in (deployment.data / "secret", deployment.token_file,
                 deployment.home / ".config/gd2fs/tokens" / deployment.cluster, deployment.home / ".config/gd2fs/secret"):
        assert mode_of(path) == 0o600, path
    assert mode_of(deployment.data) == 0o700


def test_creates_the_cluster_that_it_is_named(make_deployment):
    deployment = make_deployment("--cluster", "deepseek-r1")
    deployment.cluster = "deepseek-r1"
    deployment.start()
    assert "cluster=deepseek-r1" in deployment.up.ready
    assert [cluster["name"] for cluster in deployment.json("cluster", "ls")] == ["deepseek-r1"]
    deployment.run("mkdir", "/a")


def test_a_taken_port_beside_the_controllers_is_not_in_the_way(make_deployment):
    deployment = make_deployment()
    with socket.create_server(("127.0.0.1", deployment.port + 1)):
        deployment.start()
        assert f"127.0.0.1:{deployment.port + 1}" in deployment.log.read_text()
        deployment.run("mkdir", "/a")
        deployment.run("put", __file__, "/a")
    other = make_deployment("--set", f"server.listen=127.0.0.1:{deployment.port}", name="other")
    with pytest.raises(Failed, match="Address already in use"):
        other.start()


def test_a_second_one_on_the_same_directory_is_refused(deployment):
    with pytest.raises(Failed) as refused:
        Deployment(deployment.place).start()
    assert refused.value.code == 7
    assert f"is in use by another gd2fs (process {deployment.up.pid})" in refused.value.text
    deployment.run("ls")


def test_a_second_one_on_the_same_drive_is_refused(deployment, make_deployment):
    other = make_deployment("--drive", deployment.data / "drive", name="other")
    with pytest.raises(Failed) as refused:
        other.start()
    assert refused.value.code != 0
    deployment.run("mkdir", "/still-here")


def test_the_drive_of_another_deployment_is_refused(make_deployment, place):
    first = make_deployment("--drive", place / "drive").start()
    first.stop()
    other = make_deployment("--drive", place / "drive", name="other")
    with pytest.raises(Failed) as refused:
        other.start()
    assert "deployment" in refused.value.text
    assert first.start()


def test_a_directory_of_a_newer_version_is_refused(deployment):
    deployment.stop()
    file = deployment.data / "deployment"
    file.write_text(file.read_text().replace("version 1", "version 2"))
    with pytest.raises(Failed) as refused:
        deployment.start()
    assert refused.value.code == 9
    assert "newer" in refused.value.text


def test_names_of_another_deployment_are_refused(make_deployment):
    first = make_deployment().start().stop()
    other = make_deployment(name="other").start().stop()
    os.rename(first.data / "meta", first.data / "meta-kept")
    os.rename(other.data / "meta", first.data / "meta")
    with pytest.raises(Failed) as refused:
        first.start()
    assert refused.value.code not in (0, None)


def test_a_directory_that_cannot_be_made_is_an_error_that_names_it(make_deployment, place):
    (place / "file").write_text("")
    deployment = make_deployment("--data", place / "file" / "data")
    with pytest.raises(Failed) as refused:
        deployment.start()
    assert str(place / "file") in refused.value.text


def test_a_taken_port_is_an_error_that_names_it(deployment, make_deployment):
    other = make_deployment(name="other")
    other.port = deployment.port
    with pytest.raises(Failed) as refused:
        other.start()
    assert str(deployment.port) in refused.value.text


def test_what_was_put_is_there_after_a_restart(deployment):
    (deployment.place / "a").write_bytes(os.urandom(5_000_001))
    deployment.run("put", "a", "/a")
    deployment.restart()
    deployment.run("get", "/a", "b")
    assert (deployment.place / "b").read_bytes() == (deployment.place / "a").read_bytes()


def test_idle_it_uses_less_than_a_hundredth_of_a_core(deployment):
    def cpu_ticks():
        numbers = open(f"/proc/{deployment.up.pid}/stat").read().rsplit(")", 1)[1].split()
        return int(numbers[11]) + int(numbers[12])

    time.sleep(1)
    before = cpu_ticks()
    time.sleep(5)
    used_s = (cpu_ticks() - before) / os.sysconf("SC_CLK_TCK")
    assert used_s <= 0.05


def test_a_controller_and_a_server_apart_serve_together(make_deployment):
    deployment = make_deployment(split=True).start()
    assert deployment.controller.ready == f"ready {deployment.address} cluster={deployment.cluster}\n"
    assert deployment.server.ready == f"ready tcp://127.0.0.1:{deployment.data_port} server=1\n"
    (deployment.place / "a").write_bytes(os.urandom(300_000))
    deployment.run("put", "a", "/a")
    assert deployment.run("cat", "/a", text=False) == (deployment.place / "a").read_bytes()
    deployment.server.kill()
    deployment.start_server()
    assert deployment.run("cat", "/a", text=False) == (deployment.place / "a").read_bytes()
