"""Who may come in: tokens, rotation, the deployment's secret, --insecure."""
import contextlib
import os
import socket

from deployment import Deployment


def write_token(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    return path


def test_without_a_token_nothing_is_answered(deployment, place):
    stranger = deployment.env(HOME=str(place / "nobody"))
    deployment.run("ls", env=stranger, code=5)
    assert "token" in deployment.last.stderr
    deployment.run("status", env=stranger, code=5)
    assert "secret" in deployment.last.stderr


def test_a_wrong_token_is_refused(deployment, place):
    wrong = write_token(place / "wrong", "00" * 32 + "\n")
    deployment.run("--token-file", wrong, "ls", code=5)
    deployment.run("--secret-file", wrong, "cluster", "ls", code=5)


def test_a_token_that_others_may_read_is_refused(deployment, place):
    token = write_token(place / "open", deployment.token_file.read_text())
    token.chmod(0o644)
    deployment.run("--token-file", token, "ls", code=5)
    assert "0600" in deployment.last.stderr or "600" in deployment.last.stderr
    token.chmod(0o600)
    deployment.run("--token-file", token, "ls")


def test_the_token_of_one_cluster_opens_no_other(deployment, place):
    deployment.run("cluster", "create", "other")
    other = deployment.home / ".config/gd2fs/tokens/other"
    deployment.run("--token-file", other, "ls", code=5)
    deployment.run("--token-file", other, "--cluster", "other", "ls")
    deployment.run("--secret-file", other, "status", code=5)


def test_rotation_keeps_the_token_before_until_the_next(deployment, place):
    tokens = [write_token(place / "t0", deployment.token_file.read_text())]
    for number in (1, 2):
        deployment.run("cluster", "rotate-token", deployment.cluster, "--token-out", place / f"t{number}")
        tokens.append(place / f"t{number}")
        deployment.run("--token-file", tokens[number], "ls")
        deployment.run("--token-file", tokens[number - 1], "ls")
    deployment.run("--token-file", tokens[0], "ls", code=5)
    # After a restart the newest token lies where programs look.
    deployment.restart()
    deployment.run("ls")
    assert deployment.token_file.read_text() == tokens[2].read_text()


def test_insecure_lets_everybody_in_and_says_so(make_deployment, place):
    deployment = make_deployment("--insecure").start()
    assert "--insecure" in deployment.log.read_text()
    stranger = deployment.env(HOME=str(place / "nobody"))
    deployment.run("mkdir", "/open", env=stranger)
    deployment.run("status", env=stranger)


def test_bytes_that_are_no_frame_end_their_connection_and_nobody_elses(deployment, seeded):
    ports = [deployment.port]
    ports += [int(server["addresses"].rsplit(":", 1)[1]) for server in deployment.json("status")["servers"]]
    for port in ports:
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
                # The server may hang up at any point of this.
                with contextlib.suppress(OSError):
                    stream.sendall(seeded.randbytes(seeded.randrange(1, 5000)))
                    stream.shutdown(socket.SHUT_WR)
                    while stream.recv(65536):
                        pass
    deployment.run("ls")
    assert deployment.up.running()
