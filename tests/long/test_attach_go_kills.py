"""Attachers of Go servers that are killed at any moment, hundreds of them: no request fails, and nothing stays.

RQS_ATTACH_KILLS sets how many (400).
"""

import os
import random

import pytest
from recording import GO
from serve import Server, wait_until
from test_attach_go import attacher, session, text_of
from test_attach_go_moments import blocked_signals, kill_at_some_moment, loaded

KILLS = int(os.environ.get("RQS_ATTACH_KILLS", "400"))


@pytest.mark.parametrize("name", (*GO, "nethttp-cgo"))
def test_attachers_that_are_killed(name, tmp_path):
    chance = random.Random(name)
    found = 0
    with Server(name) as server, session(server.pid, tmp_path / "trace.rqs") as token:
        before = text_of(server.pid)
        with loaded(server, KILLS * 500):
            for _ in range(KILLS):
                kill_at_some_moment(chance.choice(("attach", "attach", "detach")), server, token, chance.uniform(0, 0.06))
                found += text_of(server.pid) != before
                if chance.random() < 0.3:
                    assert attacher("detach", server.pid)[0] == 0
                    assert text_of(server.pid) == before
            assert attacher("detach", server.pid)[0] == 0
        assert text_of(server.pid) == before
        wait_until(lambda: not blocked_signals(server.pid), 1, "all signals to be let in again")
    print(f"{name}: {KILLS} attachers were killed, {found} times its code was found changed")
    assert found
