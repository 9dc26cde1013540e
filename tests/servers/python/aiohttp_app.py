"""The aiohttp test server.

Usage: [LOOP=uvloop] aiohttp_app.py PORT
"""

import asyncio
import os
import sys

from aiohttp import ClientError, ClientSession, ClientTimeout, web

import works
from payload import allocate, user

COUNT_PATH = "/__count"
UPSTREAM = f"http://127.0.0.1:{os.environ.get('UPSTREAM', '9')}"
served = 0
upstream = web.AppKey("upstream", ClientSession)


@web.middleware
async def counter(request, handler):
    global served
    if request.path != COUNT_PATH:
        served += 1
    return await handler(request)


async def json_(request):
    return web.json_response({"message": "Hello, World!"})


async def users(request):
    user_id = int(request.match_info["user_id"])
    if user_id == 0:
        raise web.HTTPNotFound
    return web.json_response(user(user_id))


async def alloc(request):
    return web.json_response(allocate(int(request.query.get("kb", 1))))


async def sleep(request):
    ms = int(request.query.get("ms", 0))
    await asyncio.sleep(ms / 1000)
    return web.json_response({"slept": ms})


async def db(request):
    try:
        async with request.app[upstream].get(f"{UPSTREAM}/sleep", params={"ms": request.query.get("ms", 0)}) as row:
            return web.json_response({"row": await row.json()})
    except ClientError:
        raise web.HTTPBadGateway


async def echo(request):
    return web.Response(body=await request.read(), content_type=request.content_type)


def add_work(work):
    async def handler(request):
        return web.json_response(await work(**works.numbers(request.query_string)))

    return handler


async def stream(request):
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    async for chunk in works.chunks_async():
        await response.write(chunk)
    await response.write_eof()
    return response


async def background(request):
    """All of the response is sent when the handler goes on."""
    response = web.json_response({"objects": 0})
    await response.prepare(request)
    await response.write_eof()
    await works.in_halves_async(works.PART)
    return response


async def error(request):
    await works.in_halves_async(works.PART)
    raise RuntimeError("on purpose")


async def count(request):
    return web.json_response({"count": served})


async def connected(app):
    async with ClientSession(timeout=ClientTimeout(10)) as session:
        app[upstream] = session
        yield


app = web.Application(middlewares=[counter], client_max_size=1 << 24)
app.cleanup_ctx.append(connected)
app.router.add_post("/echo", echo)
app.router.add_get("/users/{user_id:\\d+}", users)
for path, handler in {
    "/json": json_, "/alloc": alloc, "/sleep": sleep, "/db": db, "/stream": stream, "/background": background,
    "/error": error, COUNT_PATH: count, **{path: add_work(work) for path, work in works.ASYNC.items()},
}.items():  # fmt: skip
    app.router.add_get(path, handler)

if __name__ == "__main__":
    if os.environ.get("LOOP") == "uvloop":
        import uvloop

        uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, backlog=1024)
