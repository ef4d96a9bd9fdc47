"""InspectStatus, error words and the exceptions that statuses become."""

import errno

import pytest
from conftest import wait_for


def status(code, status_class, detail=0, do_not_retry=0):
    return code | status_class << 8 | detail << 11 | do_not_retry << 15


@pytest.fixture
def gd2fs(fake_stack):
    return fake_stack.gd2fs


def test_inspect_status_takes_the_bits_apart(gd2fs):
    assert gd2fs.InspectStatus(0) == (False, 0, 0, 0)
    assert gd2fs.InspectStatus(0xFFFF) == (True, 7, 15, 255)
    assert gd2fs.InspectStatus(status(errno.ENOENT, 2, 1, 1)) == (True, 2, 1, errno.ENOENT)
    for do_not_retry in (0, 1):
        for status_class in range(8):
            for detail in range(16):
                for code in (0, 1, 110, 255):
                    value = status(code, status_class, detail, do_not_retry)
                    assert gd2fs.InspectStatus(value) == (bool(do_not_retry), status_class, detail, code)
    for wrong in (-1, 65536):
        with pytest.raises(ValueError):
            gd2fs.InspectStatus(wrong)
    with pytest.raises(TypeError):
        gd2fs.InspectStatus("0")


@pytest.mark.parametrize(
    "value, exception, words",
    [
        (status(errno.ENOENT, 2, 1, 1), FileNotFoundError, ["No such file", "ENOENT", "server", "controller", "do not retry"]),
        (status(errno.EEXIST, 2, 1, 1), FileExistsError, ["EEXIST"]),
        (status(errno.EACCES, 2, 1), PermissionError, ["EACCES"]),
        (status(errno.EDQUOT, 2, 1), OSError, ["EDQUOT", "quota"]),
        (status(errno.EIO, 2, 2), OSError, ["EIO", "data server"]),
        (status(errno.ETIMEDOUT, 3), TimeoutError, ["ETIMEDOUT", "transport"]),
        (status(errno.ECONNREFUSED, 3, 1), ConnectionRefusedError, ["ECONNREFUSED", "transport"]),
        (status(errno.ECANCELED, 1, 3), OSError, ["ECANCELED", "client", "iomem"]),
        (status(255, 7, 15), OSError, ["255", "unknown class"]),
    ],
)  # fmt: skip
def test_a_failure_says_its_reason_in_words_and_as_an_exception(fake_client, fake, fake_memory, value, exception, words):
    fake.fail_next(1, value)
    request = fake_client.Read("/models/x", 0, [fake_memory.sge()], 0, "")
    wait_for(fake_client, request)
    assert request.Status() == value and request.Value() == 0
    for word in words:
        assert word in repr(request)
    with pytest.raises(exception) as failure:
        request.Check()
    assert failure.value.errno == value & 0xFF and failure.value.filename == "/models/x"
    fake.fail_next(1, value)
    with pytest.raises(exception) as failure:
        fake_client.read_into("/models/x", bytearray(1))
    for word in words:
        assert word in failure.value.strerror


def test_a_failed_name_operation_raises(fake_client, fake):
    fake.fail_next(3, status(errno.EHOSTUNREACH, 3, 1))
    with pytest.raises(OSError) as failure:
        fake_client.Stat("/")
    assert failure.value.errno == errno.EHOSTUNREACH


def test_versions_agree(gd2fs, real_stack):
    import re

    assert re.fullmatch(r"\d+\.\d+\.\d+", gd2fs.__version__)
    assert gd2fs.__version__ == real_stack.gd2fs.__version__
    assert gd2fs.REQUESTS_MAX == 65536
