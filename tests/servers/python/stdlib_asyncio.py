"""An HTTP/1.1 server on asyncio.start_server, of Python's standard library alone.

One side of `make demo`, and the upstream that the other test servers' /db calls.

Usage: stdlib_asyncio.py PORT
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from http import HTTPStatus
from urllib.parse import urlsplit

import works
from payload import allocate, user

UPSTREAM_PORT = int(os.environ.get("UPSTREAM", "9"))
served = 0


async def upstream_row(ms: int) -> dict:
    reader, writer = await asyncio.open_connection("127.0.0.1", UPSTREAM_PORT)
    try:
        writer.write(f"GET /sleep?ms={ms} HTTP/1.1\r\nHost: upstream\r\nConnection: close\r\n\r\n".encode())
        response = await reader.read()
        return json.loads(response.partition(b"\r\n\r\n")[2])
    finally:
        writer.close()


async def route(method: str, target: str, body: bytes) -> tuple[int, bytes]:
    """The status and the body that answer one request."""
    global served
    url = urlsplit(target)
    query = works.numbers(url.query)
    if url.path == "/__count":
        return as_json(200, {"count": served})
    served += 1
    if method == "POST":
        return (200, body) if url.path == "/echo" else as_json(404, {"error": "not found"})
    if url.path == "/json":
        return as_json(200, {"message": "Hello, World!"})
    if url.path.startswith("/users/") and url.path[7:].isdigit() and url.path != "/users/0":
        return as_json(200, user(int(url.path[7:])))
    if url.path == "/alloc":
        return as_json(200, allocate(query.get("kb", 1)))
    if url.path == "/sleep":
        await asyncio.sleep(query.get("ms", 0) / 1000)
        return as_json(200, {"slept": query.get("ms", 0)})
    if url.path == "/db":
        try:
            return as_json(200, {"row": await upstream_row(query.get("ms", 0))})
        except OSError:
            return as_json(502, {"error": "no upstream"})
    if url.path == "/background":
        return as_json(200, {"objects": 0})
    if url.path in works.ASYNC:
        return as_json(200, await works.ASYNC[url.path](**query))
    if url.path == "/error":
        await works.in_halves_async(works.PART)
        raise RuntimeError("on purpose")
    return as_json(404, {"error": "not found"})


async def answer_or_failure(method: str, target: str, body: bytes) -> tuple[int, bytes]:
    try:
        return await route(method, target, body)
    except RuntimeError:
        return as_json(500, {"error": "failed"})


async def send_stream(writer: asyncio.StreamWriter):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    async for chunk in works.chunks_async():
        writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


def as_json(status: int, value) -> tuple[int, bytes]:
    return status, json.dumps(value).encode()


def parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines if line)
    return method, target, {name.lower(): value.strip() for name, _, value in pairs}


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    try:
        while True:
            method, target, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            if target == "/stream":
                await send_stream(writer)
                continue
            status, answer = await answer_or_failure(method, target, body)
            close = headers.get("connection", "").lower() == "close"
            writer.write(
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(answer)}\r\n"
                f"{'Connection: close' + chr(13) + chr(10) if close else ''}\r\n".encode() + answer
            )
            await writer.drain()
            if target == "/background":
                await works.in_halves_async(works.PART)
            if close:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has gone
    finally:
        writer.close()


async def main(port: int):
    server = await asyncio.start_server(serve_connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
