"""A threaded HTTP/1.1 server of Python's standard library alone: one side of `make demo`.

Usage: stdlib_threaded.py PORT
"""

import http.client
import itertools
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import works
from payload import allocate, user

UPSTREAM_PORT = int(os.environ.get("UPSTREAM", "9"))
served = itertools.count()  # next() is atomic, so threads need no lock


def upstream_row(ms: int) -> dict:
    connection = http.client.HTTPConnection("127.0.0.1", UPSTREAM_PORT, timeout=10)
    try:
        connection.request("GET", f"/sleep?ms={ms}")
        return json.load(connection.getresponse())
    finally:
        connection.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes

    def do_GET(self):
        url = urlsplit(self.path)
        query = works.numbers(url.query)
        if url.path == "/__count":
            return self.answer(200, {"count": served.__reduce__()[1][0]})
        next(served)
        if url.path == "/json":
            return self.answer(200, {"message": "Hello, World!"})
        if url.path.startswith("/users/") and url.path[7:].isdigit() and url.path != "/users/0":
            return self.answer(200, user(int(url.path[7:])))
        if url.path == "/alloc":
            return self.answer(200, allocate(query.get("kb", 1)))
        if url.path == "/sleep":
            time.sleep(query.get("ms", 0) / 1000)
            return self.answer(200, {"slept": query.get("ms", 0)})
        if url.path == "/db":
            try:
                return self.answer(200, {"row": upstream_row(query.get("ms", 0))})
            except OSError:
                return self.answer(502, {"error": "no upstream"})
        if url.path in works.SYNC:
            return self.answer(200, works.SYNC[url.path](**query))
        if url.path == "/stream":
            return self.stream()
        if url.path == "/background":
            self.answer(200, {"objects": 0})
            return works.in_halves(works.PART)
        if url.path == "/error":
            return self.fail()
        return self.answer(404, {"error": "not found"})

    def do_POST(self):
        next(served)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/echo":
            return self.send(200, body, self.headers.get("Content-Type", "application/octet-stream"))
        return self.answer(404, {"error": "not found"})

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in works.chunks():
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def fail(self):
        try:
            works.in_halves(works.PART)
            raise RuntimeError("on purpose")
        except RuntimeError:
            self.answer(500, {"error": "failed"})

    def answer(self, status, value):
        self.send(status, json.dumps(value).encode(), "application/json")

    def send(self, status, body, content_type):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        """No line a request."""


class Server(ThreadingHTTPServer):
    request_queue_size = 1024


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
