"""Servers whose event loop isn't the main thread's.

Usage: loop_in_thread.py asyncio|uvicorn PORT
"""

import asyncio
import sys
import threading

import stdlib_asyncio


def serve_asyncio(port: int):
    asyncio.run(stdlib_asyncio.main(port))


def serve_uvicorn(port: int):
    import uvicorn

    uvicorn.run("fastapi_app:app", port=port, access_log=False, backlog=1024, loop="asyncio", http="h11")


if __name__ == "__main__":
    serve = {"asyncio": serve_asyncio, "uvicorn": serve_uvicorn}[sys.argv[1]]
    # The main thread waits in Python, so that it takes signals.
    thread = threading.Thread(target=serve, args=(int(sys.argv[2]),), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(1)
