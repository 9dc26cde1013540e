"""Whatever a Go program does with its threads, stacks, signals and debugging aids, it does as well while it is recorded."""

import re
import signal
import threading
import time
import urllib.request

import load
import pytest
import read_pprof
from go_servers import ask, column, median
from recording import SETTLE, assert_balanced, ended_trace, recorded, report, route_counts
from serve import Server

# A handler of each kind, most of them cheap.
MIX = ("/json", "/slices/a?k=10", "/children?k=4", "/nested?k=2", "/panic?k=0", "/deep?mb=4", "/threads?k=2", "/pull?k=5",
       "/late?ms=1", "/worker?k=5", "/exec?k=0")  # fmt: skip


def said_by_the_server(server) -> str:
    """Without what `run` says at the end."""
    return "".join(line for line in server.output.splitlines(keepends=True) if not line.startswith("reqscope: "))


def assert_undisturbed(name, trace, env, rounds=60, clients=32, paths=MIX):
    """All requests answered, all recorded, and an ordinary end."""
    total = rounds * len(paths)
    with recorded(name, trace, "run", env=env) as server:
        done = load.fixed([server.url + path for path in paths], total, clients)
        counted = ask(server, "/__count")["count"]
        time.sleep(SETTLE)
        assert server.stop() == 128 + signal.SIGTERM
        output = said_by_the_server(server)
    assert (done.succeeded, done.errored, counted) == (total, 0, total)
    assert output == "", "the server has nothing to say"
    seen = ended_trace(trace) and report(trace)
    assert seen["requests"] == total + 1
    assert_balanced(seen["completeness"])
    return seen


@pytest.mark.parametrize(
    "env",
    (
        {"GODEBUG": "asyncpreemptoff=1"},
        {"GODEBUG": "asyncpreemptoff=0", "GOGC": "5"},
        {"GODEBUG": "gccheckmark=1", "GOGC": "50"},
        {"GODEBUG": "gcshrinkstackoff=1,sbrk=0,madvdontneed=1"},
        {"GODEBUG": "clobberfree=1,efence=0"},
        {"GOMAXPROCS": "1"},
        {"GOMAXPROCS": "8", "GOGC": "10"},
        {"GOTRACEBACK": "crash", "GODEBUG": "schedtrace=0"},
    ),
    ids=lambda env: ",".join(f"{key}={value}" for key, value in env.items()),
)
def test_debugging_aids(env, trace):
    assert_undisturbed("nethttp", trace, env)


@pytest.mark.parametrize("name", ("gin", "fiber"))
def test_frameworks(name, trace):
    assert_undisturbed(name, trace, {"GOGC": "20"})


def test_threads_that_end(trace):
    """A goroutine that ends locked takes its thread with it: thousands of threads, more than there is room for at once."""
    seen = assert_undisturbed("nethttp", trace, {}, rounds=1920, paths=("/threads?k=4", "/json"))
    assert route_counts(seen)[("GET", "/threads")] == 1920


def test_a_stack_of_64_megabytes(trace):
    """It is moved each time that it doubles, in the middle of a request."""
    assert_undisturbed("nethttp", trace, {}, rounds=25, clients=4, paths=("/deep?mb=64", "/slices/b?k=100"))
    seen = ended_trace(trace)
    assert min(column(seen, "/slices/b", "alloc_bytes")) >= 100_000
    assert median(column(seen, "/deep", "alloc_bytes")) < 100_000, "a stack is no allocation"


def profile_under_load(server, seconds: float):
    """A CPU profile at 1 kHz while the server answers."""
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(urllib.request.urlopen(f"{server.url}/profile?ms={seconds * 1000:.0f}").read())
    )
    asking.start()
    load.timed(server.url + "/slices/a?k=20", clients=16, seconds=round(seconds))
    asking.join()
    return read_pprof.read(answers[0])


def profile_of(server, samples: int = 400):
    """As many samples as say something, however busy the machine is."""
    whole = profile_under_load(server, 3)
    for _ in range(5):
        if whole.total < samples:
            whole.samples += profile_under_load(server, 3).samples
    return whole


# Where hooks are. Time in them is their function's.
HOOKED = ("internal/runtime/syscall/linux.Syscall6", "internal/runtime/syscall.Syscall6",
          "runtime/internal/syscall.Syscall6", "syscall.Syscall", "syscall.Syscall6", "syscall.RawSyscall",
          "syscall.RawSyscall6", "runtime.mallocgc", "runtime.casgstatus", "runtime.casGToPreemptScan",
          "internal/runtime/atomic.(*Uint32).CompareAndSwap")  # fmt: skip  # of the copies of casgstatus that PGO makes
NOBODY = "runtime._ExternalCode", "runtime._VDSO", read_pprof.NOWHERE


def share_of(profile, names) -> float:
    leaves = profile.leaves()
    return sum(leaves[name] for name in names)


def assert_same_callers(alone, seen, function):
    """Who calls it a lot, does so in both."""
    one, other = alone.callers(function), seen.callers(function)
    for callers, others in ((one, other), (other, one)):
        assert {name for name, share in callers.items() if share > 0.05} <= set(others), (one, other)


@pytest.mark.parametrize(
    "name",
    ("nethttp", "nethttp-1.18", "nethttp-1.19", "nethttp-1.21", "nethttp-1.24", "gin", "nethttp-pie", "nethttp-cgo",
     "nethttp-pgo"),
)  # fmt: skip
def test_a_profile_looks_the_same(name, trace):
    with Server(name) as server:
        alone = profile_of(server)
    with recorded(name, trace, "run") as server:
        seen = profile_of(server)
    assert alone.total > 100 and seen.total > 100, "too few samples to say anything"

    # Of the agent's time only a few instructions around each hook have no name.
    assert share_of(seen, NOBODY) < share_of(alone, NOBODY) + 0.03
    # Stacks are whole: they begin where they do alone, and what only requests do begins at a connection.
    begins = {names[-1] for names, _ in alone.stacks}
    assert sum(count for names, count in seen.stacks if names[-1] not in begins) < 0.03 * seen.total
    work = [names[-1] for names, _ in seen.stacks if "reqscope.test/servers/common.Slices" in names]
    assert work and set(work) == {"net/http.(*conn).serve"}
    for function in HOOKED:
        assert_same_callers(alone, seen, function)
    # What is at the top in one, is near it in the other.
    tops = [[leaf for leaf, _ in profile.leaves().most_common(20)] for profile in (alone, seen)]
    assert set(tops[0][:3]) <= set(tops[1])
    assert set(tops[1][:3]) <= {*tops[0], *HOOKED}


def test_a_profile_of_what_is_out_of_the_ordinary(trace):
    """Children between fork and exec, panics, threads that end and stacks that move, a signal each millisecond."""
    answers = []
    with recorded("nethttp", trace, "run", env={"GOGC": "20"}) as server:
        url = f"{server.url}/profile?ms=3000"
        asking = threading.Thread(target=lambda: answers.append(urllib.request.urlopen(url).read()))
        asking.start()
        total = 240 * len(MIX)
        done = load.fixed([server.url + path for path in MIX], total, 32)
        asking.join()
        time.sleep(SETTLE)
        assert server.stop() == 128 + signal.SIGTERM
        output = said_by_the_server(server)
    said = "runtime: cannot set cpu profile rate until previous profile has finished.\n"  # the handler asks for 1 kHz
    assert (done.succeeded, done.errored, output) == (total, 0, said)
    assert share_of(read_pprof.read(answers[0]), NOBODY) < 0.05


def test_an_execution_trace(trace):
    """runtime/trace on and off under load."""
    with recorded("nethttp", trace, "run") as server:
        answers = []
        url = server.url + "/debug/pprof/trace?seconds=1"
        asking = threading.Thread(target=lambda: answers.append(urllib.request.urlopen(url).read()))
        asking.start()
        done = load.timed(server.url + "/children?k=2", clients=8, seconds=2)
        asking.join()
    assert done.errors == done.not_2xx == 0
    assert answers[0].startswith(b"go 1.") and len(answers[0]) > 10_000
    seen = ended_trace(trace)
    assert_balanced(seen.totals["completeness"])
    # wrk ends with requests on their way.
    assert done.requests < len(seen.requests) <= done.requests + 8 + 1


def functions(dump: str) -> set:
    """The functions that a dump of all goroutines names."""
    return set(re.findall(r"^([\w./*()\[\]-]+)\(.*\)$", dump, re.MULTILINE))


def quit_under_load(server) -> str:
    """Ends it by SIGQUIT while requests wait, run and begin; what it prints then."""
    client = threading.Thread(target=load.timed, args=(server.url + "/children?k=2", 16, 2))
    sleepers = threading.Thread(target=load.timed, args=(server.url + "/sleep?ms=100", 8, 2))
    client.start(), sleepers.start()
    time.sleep(1)
    assert server.stop(signal.SIGQUIT) == 2
    client.join(), sleepers.join()
    return said_by_the_server(server)


def test_a_dump_of_all_goroutines(trace):
    """As Go writes it at SIGQUIT: all goroutines, nothing that its unwinder stumbles over, and status 2."""
    with Server("nethttp") as server:
        alone = quit_under_load(server)
    with recorded("nethttp", trace, "run") as server:
        dump = quit_under_load(server)
    assert "SIGQUIT: quit" in dump
    for trouble in ("fatal error", "unexpected", "traceback did not unwind completely", "unknown pc", "panic"):
        assert trouble not in dump
    assert dump.count("\ngoroutine ") > 24 and dump.rstrip().splitlines()[-1].startswith("gs ")
    waiting = {"main.main", "net/http.(*conn).serve", "time.Sleep", "internal/poll.(*FD).Read"}
    assert waiting <= functions(alone) & functions(dump)
    completeness = ended_trace(trace).totals["completeness"]
    assert_balanced(completeness)
    assert completeness["finished"] > 100
