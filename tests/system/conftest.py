"""What all system tests share."""

import signal

import pytest
from recording import LIBRARY, MODES, REQSCOPE


def pytest_configure(config):
    # Shells start what runs in the background with SIGINT ignored, and it would stay so in all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The same with nohup's signal. A handler isn't inherited, and so long as we have one we stay.
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    for built in (REQSCOPE, LIBRARY):
        if not built.exists():
            raise pytest.UsageError(f"{built} is not built: make")


@pytest.fixture
def trace(tmp_path):
    """Where a test's recording goes."""
    return tmp_path / "trace.rqs"


@pytest.fixture(params=MODES)
def mode(request):
    """By the launcher, and by LD_PRELOAD alone."""
    return request.param
