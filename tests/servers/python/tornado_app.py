"""The Tornado test server.

Usage: tornado_app.py PORT
"""

import asyncio
import json
import logging
import os
import sys

from tornado import httpclient, web

import works
from payload import allocate, user

COUNT_PATH = "/__count"
UPSTREAM = f"http://127.0.0.1:{os.environ.get('UPSTREAM', '9')}"
served = 0


class Handler(web.RequestHandler):
    def prepare(self):
        global served
        if self.request.path != COUNT_PATH:
            served += 1

    def answer(self, value):
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(value))

    def ms(self) -> int:
        return int(self.get_query_argument("ms", 0))


class Json(Handler):
    def get(self):
        self.answer({"message": "Hello, World!"})


class Users(Handler):
    def get(self, user_id):
        if int(user_id) == 0:
            raise web.HTTPError(404)
        self.answer(user(int(user_id)))


class Alloc(Handler):
    def get(self):
        self.answer(allocate(int(self.get_query_argument("kb", 1))))


class Sleep(Handler):
    async def get(self):
        await asyncio.sleep(self.ms() / 1000)
        self.answer({"slept": self.ms()})


class Db(Handler):
    async def get(self):
        try:
            row = await httpclient.AsyncHTTPClient().fetch(f"{UPSTREAM}/sleep?ms={self.ms()}", request_timeout=10)
        except (httpclient.HTTPError, OSError):
            raise web.HTTPError(502)
        self.answer({"row": json.loads(row.body)})


class Echo(Handler):
    def post(self):
        self.set_header("Content-Type", self.request.headers.get("Content-Type", "application/octet-stream"))
        self.write(self.request.body)


class Work(Handler):
    def initialize(self, work):
        self.work = work

    async def get(self):
        self.answer(await self.work(**works.numbers(self.request.query)))


class Stream(Handler):
    async def get(self):
        async for chunk in works.chunks_async():
            self.write(chunk)
            await self.flush()


class Background(Handler):
    async def get(self):
        """All of the response is sent when the handler goes on."""
        self.answer({"objects": 0})
        await self.finish()
        await works.in_halves_async(works.PART)


class Error(Handler):
    async def get(self):
        await works.in_halves_async(works.PART)
        raise RuntimeError("on purpose")


class Count(Handler):
    def get(self):
        self.answer({"count": served})


def application() -> web.Application:
    return web.Application(
        [
            ("/json", Json), ("/users/([0-9]+)", Users), ("/alloc", Alloc), ("/sleep", Sleep), ("/db", Db), ("/echo", Echo),
            ("/stream", Stream), ("/background", Background), ("/error", Error), (COUNT_PATH, Count),
            *((path, Work, {"work": work}) for path, work in works.ASYNC.items()),
        ]
    )  # fmt: skip


async def main(port: int):
    application().listen(port, "127.0.0.1", backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    asyncio.run(main(int(sys.argv[1])))
