"""The wait for the GIL against what the waiting threads see, within 2 %: on a machine with nothing else to do."""

import pytest
from test_python_times import contend

ROUNDS = 10


@pytest.mark.parametrize("name", ("threaded", "flask-gthread", "asyncio", "fastapi-uvloop"))
def test_four_threads_spin(name, tmp_path):
    measured, least, most = map(sum, zip(*contend(name, tmp_path / "trace.rqs", ms=500, times=ROUNDS)))
    assert least > 0.1 * ROUNDS
    assert 0.98 * least <= measured <= 1.02 * most
