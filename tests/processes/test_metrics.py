"""/metrics and /health."""
import os
import re
import urllib.error
import urllib.request

from deployment import free_port


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.status, answer.read().decode()


def test_metrics_count_and_have_names_as_prometheus_wants_them(make_deployment):
    port = free_port()
    deployment = make_deployment("--metrics", f"127.0.0.1:{port}").start()
    (deployment.place / "a").write_bytes(os.urandom(1 << 20))
    deployment.run("put", "a", "/secret-name")
    deployment.run("cat", "/secret-name", text=False)
    _, text = get(port, "/metrics")
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["gd2fs_server_write_bytes_total"]) == 1 << 20
    assert float(values["gd2fs_server_read_bytes_total"]) == 1 << 20
    assert float(values["process_cpu_seconds_total"]) > 0
    for name in values:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name.partition("{")[0]), name
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            assert (kind == "counter") == name.endswith("_total"), line
    assert "secret-name" not in text


def test_health_says_live_and_ready(make_deployment):
    port = free_port()
    deployment = make_deployment("--metrics", f"127.0.0.1:{port}").start()
    assert get(port, "/health/live") == (200, "live\n")
    assert get(port, "/health/ready") == (200, "ready\n")


def test_a_controller_without_servers_is_live_and_not_ready(make_deployment):
    port = free_port()
    deployment = make_deployment("--metrics", f"127.0.0.1:{port}", split=True)
    deployment.start_controller()
    assert get(port, "/health/live")[0] == 200
    try:
        get(port, "/health/ready")
        raise AssertionError("ready without a data server")
    except urllib.error.HTTPError as error:
        assert error.code == 503
    deployment.run("status", code=7)
