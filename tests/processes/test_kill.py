"""SIGKILL of server, controller or both under a mixed load: nothing acknowledged is lost.

GD2FS_KILL_ROUNDS rounds in all (20), seeded by GD2FS_TEST_SEED.
"""
import os
import time

import pytest

import library
import load

ROUNDS = int(os.environ.get("GD2FS_KILL_ROUNDS", "20"))
WORKERS = 3


def kill_rounds(deployment, seeded, rounds, kill_and_start):
    deployment.start()
    workers = [load.Worker(deployment, f"w{number}", seeded.randrange(2**32)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    checker = library.Ctx(deployment.address, deployment.cluster, deployment.token_file)
    try:
        for number in range(rounds):
            time.sleep(seeded.uniform(0.2, 1.0))
            kill_and_start(seeded)
            before = [worker.acknowledged for worker in workers]
            deadline = time.monotonic() + 60
            while any(worker.acknowledged == was and worker.failure is None for worker, was in zip(workers, before)):
                assert time.monotonic() < deadline, f"round {number}: no progress"
                time.sleep(0.01)
            for worker in workers:
                assert worker.failure is None, f"round {number}: {worker.failure!r}"
    finally:
        for worker in workers:
            worker.stop()
    for worker in workers:
        load.check_worker(checker, worker)
    # Once more from the drive.
    deployment.restart()
    for worker in workers:
        load.check_worker(checker, worker)
    checker.close()
    assert "0 damaged blocks" in deployment.run("scrub")
    assert sum(len(worker.uncertain) for worker in workers) <= rounds, "too little was acknowledged to say anything"


def test_one_process_killed_again_and_again(make_deployment, seeded):
    deployment = make_deployment()

    def kill_and_start(_):
        deployment.up.kill()
        deployment.start_up()

    kill_rounds(deployment, seeded, (ROUNDS + 1) // 2, kill_and_start)


def test_controller_and_server_killed_in_turns(make_deployment, seeded):
    deployment = make_deployment(split=True)

    def kill_and_start(random):
        victims = random.choice([["controller"], ["server"], ["controller", "server"], ["server", "controller"]])
        for victim in victims:
            getattr(deployment, victim).kill()
        time.sleep(random.choice([0, 0, 0.3]))
        if "controller" in victims:
            deployment.start_controller()
        if "server" in victims:
            deployment.start_server()

    kill_rounds(deployment, seeded, ROUNDS // 2, kill_and_start)


def test_a_killed_put_leaves_the_file_as_it_was(deployment):
    import signal
    import subprocess
    from deployment import GD2FS

    (deployment.place / "old").write_bytes(b"the old contents")
    deployment.run("put", "old", "/file")
    with open(deployment.place / "new", "wb") as out:
        out.truncate(1 << 30)
    for after_s in (0.05, 0.2, 0.5):
        put = subprocess.Popen([GD2FS, "put", "new", "/file"], cwd=deployment.place, env=deployment.env(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after_s)
        put.send_signal(signal.SIGKILL)
        if put.wait() == 0:
            pytest.skip("the put was quicker than the kill")
        assert deployment.run("cat", "/file") == "the old contents"


def test_an_interrupted_put_says_so_and_removes_its_part(deployment):
    import signal
    import subprocess
    from deployment import GD2FS

    with open(deployment.place / "new", "wb") as out:
        out.truncate(4 << 30)
    put = subprocess.Popen([GD2FS, "put", "new", "/file"], cwd=deployment.place, env=deployment.env(),
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    put.send_signal(signal.SIGINT)
    _, errors = put.communicate(timeout=60)
    assert put.returncode == 130, errors
    assert "interrupted" in errors
    assert deployment.run("ls") == ""
