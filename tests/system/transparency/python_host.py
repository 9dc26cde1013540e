"""A Python program that serves requests to itself, does something an agent in its interpreter could spoil, and says what
it observed.

Usage: python_host.py WAY
"""

import atexit
import contextvars
import ctypes
import gc
import http.client
import os
import resource
import signal
import socket
import sys
import threading
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REQUESTS = 20


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"x" * len([bytes(300) for _ in range(200)])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True


def serve(requests=REQUESTS) -> Server:
    """A server that has answered so many."""
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    lengths = [ask(server.server_address[1]) for _ in range(requests)]
    print("lengths:", set(lengths))
    print(f"requests: {requests}", flush=True)
    return server


def ask(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/host")
        answer = connection.getresponse()
        return len(answer.read())
    finally:
        connection.close()
        time.sleep(0.001)


def allocate_forever():
    while True:
        [bytes(size) for size in range(100, 2000, 100)]


def daemons():
    """Threads that allocate while the interpreter ends under them."""
    serve()
    for _ in range(4):
        threading.Thread(target=allocate_forever, daemon=True).start()
    time.sleep(0.02)


def exit_handlers():
    """What runs when the interpreter ends serves, too."""
    atexit.register(lambda: print("at exit:", ask(server.server_address[1])))
    server = serve()
    print("requests: 1")
    sys.exit(3)


def no_end():
    serve()
    os._exit(4)


def exception():
    serve()
    raise SystemError("on purpose")


def forked():
    """A child of os.fork that allocates, serves, and ends in the ordinary way; and one that doesn't."""
    serve()
    sys.stdout.flush()
    for end in (sys.exit, os._exit):
        pid = os.fork()
        if pid == 0:
            serve()
            sys.stdout.flush()
            end(7)
        print("status:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def tracing():
    """tracemalloc begun, and ended, with requests before, meanwhile and after."""
    serve()
    before = tracemalloc.is_tracing()
    tracemalloc.start(5)
    serve()
    kept = [bytes(1000) for _ in range(100)]
    size, peak = tracemalloc.get_traced_memory()
    least = sum(map(sys.getsizeof, kept))
    lines = tracemalloc.take_snapshot().statistics("lineno")
    print("traced:", before, size >= least, peak >= size, any(line.size >= least and line.count >= 100 for line in lines))
    tracemalloc.stop()
    serve()
    print("still:", tracemalloc.is_tracing(), tracemalloc.get_traced_memory())


def little_memory():
    """Allocations that fail, small and big."""
    serve()
    limit = resource.getrlimit(resource.RLIMIT_AS)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), limit[1]))
    failed = []
    for size in (1 << 30, 200):
        kept = []
        try:
            while True:
                kept.append(bytes(size))
        except MemoryError:
            del kept
            failed.append(size)
    resource.setrlimit(resource.RLIMIT_AS, limit)
    print("failed:", failed)
    serve()


def collecting():
    """A collection at nearly every allocation, with destructors that allocate and serve."""

    class Cycle:
        ended = 0

        def __init__(self):
            self.self = self

        def __del__(self):
            Cycle.ended += 1
            [bytes(300) for _ in range(10)]

    gc.set_threshold(1)
    server = serve()
    for _ in range(200):
        Cycle()
    gc.collect()
    print("ended:", Cycle.ended, ask(server.server_address[1]))
    print("requests: 1")


def pending():
    """More pending calls than CPython's queue holds, an interval timer's signal handler, and none of them lost."""
    done = []
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    call = kind(lambda _: done.append(1) or 0)
    fired = []
    signal.signal(signal.SIGALRM, lambda *_: fired.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    server = serve()
    added = 0
    for _ in range(50):
        added += ctypes.pythonapi.Py_AddPendingCall(call, None) == 0
        time.sleep(0)
    ask(server.server_address[1])
    print("requests: 1")
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("pending:", added == len(done) == 50, "fired:", len(fired) > 5)


def contexts():
    """Variables and copied contexts hold what was put there, and nothing else shows in a fresh one."""
    variable = contextvars.ContextVar("mine", default=0)
    variable.set(1)
    serve()
    copy = contextvars.copy_context()
    copy.run(variable.set, 2)
    print("values:", variable.get(), copy[variable], len(contextvars.Context()))
    print("items:", [item.name for item in copy if item is variable])


def interpreters():
    """A second interpreter allocates and ends."""
    try:
        import _xxsubinterpreters as other
    except ImportError:
        import _interpreters as other
    serve()
    for _ in range(3):
        one = other.create()
        other.run_string(one, "kept = [bytes(size) for size in range(1, 3000)]")
        other.destroy(one)
    serve()
    print("interpreters:", len(other.list_all()))


def deep():
    """Recursion to its limit, and a stack of C frames."""

    def down(level):
        return down(level + 1)

    serve()
    try:
        down(0)
    except RecursionError as error:
        print("recursion:", error)
    serve()


def killed():
    """A fatal signal is told as ever."""
    serve()
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def executed():
    """It becomes itself again, and serves there."""
    serve()
    sys.stdout.flush()
    if "AGAIN" not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "AGAIN": "1"})


def many_threads():
    """2,000 threads that end, some of which serve."""
    server = serve()
    lock, total = threading.Lock(), 0

    def one(number):
        nonlocal total
        length = ask(server.server_address[1]) if number % 50 == 0 else len(bytes(200))
        with lock:
            total += length

    for start in range(0, 2000, 50):
        threads = [threading.Thread(target=one, args=(number,)) for number in range(start, start + 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print("total:", total)
    print("requests: 40")


def observed():
    """What can be seen of the interpreter, before it listens and after."""
    for _ in range(2):
        print("modules:", sorted(sys.modules))
        print("paths:", sys.path, [repr(finder).split(" at ")[0] for finder in sys.meta_path])
        print("hooks:", sys.gettrace(), sys.getprofile(), sys.flags, sys.getswitchinterval(), gc.get_threshold(), gc.callbacks)
        print("threads:", [thread.name for thread in threading.enumerate()][:1], socket.getdefaulttimeout())
        serve()


WAYS = (daemons, exit_handlers, no_end, exception, forked, tracing, little_memory, collecting, pending, contexts,
        interpreters, deep, killed, executed, many_threads, observed)  # fmt: skip

if __name__ == "__main__":
    {way.__name__: way for way in WAYS}[sys.argv[1]]()
