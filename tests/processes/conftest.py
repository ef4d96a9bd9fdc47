"""Fixtures: deployments of real `gd2fs` processes, each in a directory and with a HOME of its own."""
import os
import pathlib
import random
import shutil
import tempfile

import pytest

from deployment import Deployment


@pytest.fixture
def place():
    """A fresh directory on a real drive (O_DIRECT does not work on tmpfs)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="gd2fs-test-", dir=os.environ.get("GD2FS_TEST_DIR", "/var/tmp")))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def deployment(place):
    """A running `gd2fs up`."""
    made = Deployment(place)
    made.start()
    yield made
    made.close()


@pytest.fixture
def make_deployment(place):
    """Deployments with settings of their own: make_deployment("--slab", "64MiB")."""
    made = []

    def make(*arguments, name="d", **options):
        deployment = Deployment(place / name, *arguments, **options)
        made.append(deployment)
        return deployment

    (place / "d").mkdir(exist_ok=True)
    yield make
    for deployment in made:
        deployment.close()


@pytest.fixture
def seeded():
    """Random numbers that can be had again: GD2FS_TEST_SEED=... (printed when a test fails)."""
    seed = int(os.environ.get("GD2FS_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    print(f"GD2FS_TEST_SEED={seed}")
    return random.Random(seed)
