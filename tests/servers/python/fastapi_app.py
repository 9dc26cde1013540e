"""The FastAPI test server."""

import asyncio
import os
from contextlib import asynccontextmanager

import httpx
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

import works
from payload import allocate, user

COUNT_PATH = "/__count"
served = 0


@asynccontextmanager
async def lifespan(app: FastAPI):
    base = f"http://127.0.0.1:{os.environ.get('UPSTREAM', '9')}"
    kept = httpx.Limits(max_connections=1024, max_keepalive_connections=1024)
    async with httpx.AsyncClient(base_url=base, timeout=10, limits=kept) as client:
        app.state.upstream = client
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


class Counter:
    """Plain ASGI: Starlette's decorator would put a task and two queues around each request."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        global served
        if scope["type"] == "http" and scope["path"] != COUNT_PATH:
            served += 1
        await self.inner(scope, receive, send)


app.add_middleware(Counter)


@app.get("/json")
async def json_():
    return {"message": "Hello, World!"}


@app.get("/users/{user_id}")
async def users(user_id: int):
    if user_id == 0:
        raise HTTPException(404, "no such user")
    return user(user_id)


@app.get("/alloc")
def alloc(kb: int = 1):
    """Not async on purpose: FastAPI runs it in its thread pool."""
    return allocate(kb)


@app.get("/sleep")
async def sleep(ms: int = 0):
    await asyncio.sleep(ms / 1000)
    return {"slept": ms}


@app.get("/db")
async def db(ms: int = 0):
    try:
        row = await app.state.upstream.get("/sleep", params={"ms": ms})
    except httpx.HTTPError as error:
        raise HTTPException(502, "no upstream") from error
    return {"row": row.json()}


@app.post("/echo")
async def echo(request: Request):
    body = await request.body()
    return Response(body, media_type=request.headers.get("content-type", "application/octet-stream"))


def add_work(path, work):
    @app.get(path)
    async def endpoint(request: Request):
        return await work(**works.numbers(request.url.query))


for path, work in works.ASYNC.items():
    add_work(path, work)


@app.get("/sync")
def sync():
    """In anyio's thread pool."""
    return works.in_halves(works.PART)


@app.get("/stream")
async def stream():
    return StreamingResponse(works.chunks_async(), media_type="text/plain")


@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(works.in_halves_async, works.PART)
    return {"objects": 0}


@app.get("/error")
async def error():
    await works.in_halves_async(works.PART)
    raise RuntimeError("on purpose")


@app.get(COUNT_PATH)
async def count():
    return {"count": served}
