#!/usr/bin/env python3
"""What tracers send their spans to: it keeps what comes, and says yes. In place of OpenTelemetry's collector and Datadog's agent.

    sink.py PORT FILE      answers on 127.0.0.1 until it is killed; FILE gets what is sent

Nothing is looked into while servers are measured: that is done afterwards, by received().
"""

import gzip
import json
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TRACE_COUNT = "X-Datadog-Trace-Count"


@dataclass
class Received:
    requests: int = 0  # spans of requests that a server answered; of Datadog's, traces
    spans: int = 0  # OpenTelemetry's alone
    bytes: int = 0  # of the bodies of all that was sent


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self):
        body = self.body()
        head = {
            "path": self.path, "length": len(body), "encoding": self.headers.get("Content-Encoding", ""),
            "traces": int(self.headers.get(TRACE_COUNT, 0)),
        }  # fmt: skip
        self.server.keep(json.dumps(head).encode() + b"\n" + body)
        said = b"{}" if self.path.startswith("/v0") or self.path == "/info" else b""
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if said else "application/x-protobuf")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


class Sink(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, file: Path):
        super().__init__(("127.0.0.1", port), Handler)
        self.file = open(file, "ab", buffering=0)
        self.lock = threading.Lock()

    def keep(self, one: bytes):
        with self.lock:
            self.file.write(one)


def entries(file: Path):
    """(head, body) of each thing sent."""
    with open(file, "rb") as kept:
        while line := kept.readline():
            head = json.loads(line)
            yield head, kept.read(head["length"])


def spans_in(body: bytes) -> list:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    sent = ExportTraceServiceRequest.FromString(body)
    return [span for resource in sent.resource_spans for scope in resource.scope_spans for span in scope.spans]


def received(file: Path) -> Received:
    total = Received()
    for head, body in entries(file):
        total.bytes += len(body)
        if head["path"].endswith("/v1/traces"):
            spans = spans_in(gzip.decompress(body) if head["encoding"] == "gzip" else body)
            total.spans += len(spans)
            total.requests += sum(span.kind == span.SPAN_KIND_SERVER for span in spans)
        else:
            total.requests += head["traces"]
    return total


if __name__ == "__main__":
    Sink(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
