"""Servers under load that are attached to and left again, 200 times: nothing fails, nothing grows.

RQS_ATTACH_CYCLES sets how many times (`make soak`: 200).
"""

import os

import pytest
from attaching import hooks, mappings, shared_memory
from recording import assert_balanced, report
from serve import Server
from test_attach import SERVERS, attach_once, loaded

CYCLES = int(os.environ.get("RQS_ATTACH_CYCLES", "200"))


@pytest.mark.parametrize("name", SERVERS)
def test_attached_to_again_and_again(name, tmp_path):
    trace = tmp_path / "trace.rqs"
    sizes, memory, requests = [], [], 0
    with Server(name) as server:
        pids = server.pids()
        with loaded(server):
            for _ in range(CYCLES):
                attach_once(server, trace, (*SERVERS[name], "-f"), seconds=0.1)
                seen = report(trace)
                assert_balanced(seen["completeness"])
                requests += seen["requests"]
                sizes.append(sum(len(mappings(pid)) for pid in pids))
                memory.append(server.memory()["rss"])
        assert server.pids() == pids
        assert not any(hooks(pid) or shared_memory(pid) for pid in pids)
    print(f"{name}: {requests} requests in {CYCLES} recordings, {memory[0] >> 20} to {memory[-1] >> 20} MiB, "
          f"{sizes[0]} to {sizes[-1]} mappings")  # fmt: skip
    first = max(1, CYCLES // 5)
    assert requests
    assert max(sizes[first:]) <= max(sizes[:first]) + 8 * len(pids), sizes
    assert memory[-1] < 1.5 * max(memory[:first]) + (32 << 20)
