"""What several tests of the analyzer need."""

import pytest
import reqscope_cli  # noqa: F401 (where the tools are)

from make_trace import trace


@pytest.fixture
def write(tmp_path):
    """write(name, requests, ...): a trace of these requests, as a file."""

    def write_trace(name, requests, **more):
        path = tmp_path / f"{name}.rqs"
        path.write_bytes(trace(requests, **more))
        return path

    return write_trace
