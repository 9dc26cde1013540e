"""An HTTP/1.1 client on a bare socket, for what load generators never send: cut heads, pipelines, chunks, aborts.

Each exchange is logged with its first and last instant on both clocks, so that a trace can be joined with it.
"""

import socket
import struct
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Instant:
    monotonic: int  # ns
    realtime: int  # ns


def now() -> Instant:
    return Instant(time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_REALTIME))


@dataclass(frozen=True)
class Exchange:
    start: Instant  # before the first byte was sent
    end: Instant  # after the last byte was received
    status: int
    headers: dict
    body: bytes


def get(path: str, *headers: str, method="GET") -> bytes:
    """The bytes of a request without a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
    return "\r\n".join(lines).encode()


def post(path: str, body: bytes, *headers: str) -> bytes:
    return get(path, f"Content-Length: {len(body)}", *headers, method="POST") + body


def post_chunked(path: str, chunks: list[bytes], *headers: str) -> bytes:
    parts = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return get(path, "Transfer-Encoding: chunked", *headers, method="POST") + parts + b"0\r\n\r\n"


class Connection:
    """One connection; also a context manager."""

    def __init__(self, port: int, seconds: float = 20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.log: list[Exchange] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def exchange(self, request: bytes, cuts=(), pause: float = 0.0, method="GET") -> Exchange:
        """Sends one request, cut at the given offsets with a pause after each piece, and reads its response."""
        start = now()
        self.send(request, cuts, pause)
        return self.receive(start, method)

    def pipeline(self, requests: list[bytes]) -> list[Exchange]:
        """Sends all in one write, then reads as many responses."""
        start = now()
        self.send(b"".join(requests))
        return [self.receive(start) for _ in requests]

    def send(self, data: bytes, cuts=(), pause: float = 0.0):
        edges = [0, *cuts, len(data)]
        for begin, end in zip(edges, edges[1:]):
            self.socket.sendall(data[begin:end])
            if end != len(data):
                time.sleep(pause)

    def receive(self, start: Instant, method="GET") -> Exchange:
        """Reads one response, interim ones skipped."""
        status, headers = 100, {}
        while 100 <= status < 200:
            status, headers = self._head()
        body = b"" if method == "HEAD" or status in (204, 304) else self._body(headers)
        self.log.append(Exchange(start, now(), status, headers, body))
        return self.log[-1]

    def _more(self) -> bool:
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self._more():
                raise ConnectionError("closed inside a response")
        part, _, self.buffer = self.buffer.partition(mark)
        return part

    def upgrade(self, request: bytes) -> int:
        """Sends a request and reads the head of its answer, interim or final; what follows is no HTTP."""
        self.send(request)
        return self._head()[0]

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self._more():
                raise ConnectionError("closed inside a response")
        part, self.buffer = self.buffer[:count], self.buffer[count:]
        return part

    def _head(self) -> tuple[int, dict]:
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    def _body(self, headers: dict) -> bytes:
        if "chunked" in headers.get("transfer-encoding", ""):
            parts = []
            while size := int(self._until(b"\r\n").split(b";")[0], 16):
                parts.append(self.exactly(size))
                self._until(b"\r\n")
            self._until(b"\r\n")
            return b"".join(parts)
        if "content-length" in headers:
            return self.exactly(int(headers["content-length"]))
        while self._more():
            pass
        body, self.buffer = self.buffer, b""
        return body

    def abort(self):
        """Closes with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()
