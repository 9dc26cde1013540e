"""Samples of allocations that are made where little may be done: the program does the same as without, and ends."""

import os
import re
import shutil
import subprocess
import threading
import time

import load
import pytest
import read_trace
from attaching import Attached, hooks
from recording import BUILD, ROOT, SETTLE, assert_balanced, ended_trace
from serve import Server

PROGRAMS = {"cc": (BUILD / "servers/sampled", BUILD / "libreqscope.so"),
            "musl-gcc": (BUILD / "servers/sampled-musl", BUILD / "libreqscope-musl.so")}  # fmt: skip
SERVERS = {"cc": "httpd", "musl-gcc": "httpd-musl"}
# By glibc's allocator, and by one that can be called from anywhere.
GLIBC = ("plainly", "constructor", "held", "fork", "vfork", "signal-stack", "small-stack", "context")
# Of musl's allocator one lock is all there is, and whoever is held in it holds everybody.
MUSL = ("plainly", "constructor", "fork", "vfork", "signal-stack", "small-stack")
COUNTING = ("plainly", "constructor", "malloc", "held", "handler", "fork", "vfork", "signal-stack", "small-stack", "context")
CONSTRUCTOR = """
void let_other_work(void);
unsigned work_here(void);
static void __attribute__((constructor)) begin(void) { work_here(); let_other_work(); }
"""
OF_BLOCKS = 200 * 4 * 0.9  # samples, at least, of as many rounds of four allocations each


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    to = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-D_GNU_SOURCE", "-Wl,-z,now", "-o", to,
                    ROOT / "tests/system/sites_shim.c"], check=True)  # fmt: skip
    return to


def build_library(compiler, folder):
    to = folder / "constructor.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-xc", "-o", to, "-"], input=CONSTRUCTOR, text=True, check=True)
    return to


def outcome(command, preload, **env):
    env = {**os.environ, **({"LD_PRELOAD": ":".join(map(str, preload))} if preload else {}), **env}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


def sampled_as_ever(mode, trace, behind=(), compiler="cc") -> read_trace.Trace:
    """The trace of the program, which did nothing else than it does alone."""
    program, agent = PROGRAMS[compiler]
    command = [program, *mode.split(), build_library(compiler, trace.parent)]
    alone = outcome(command, behind)
    assert alone[0] == 0, alone
    assert outcome(command, [agent, *behind], REQSCOPE_OUT=str(trace), REQSCOPE_SAMPLE_BYTES="4K") == alone
    seen = ended_trace(trace)
    assert_balanced(seen.totals["completeness"])
    assert [request.route for request in seen.requests] == [f"/{mode.split()[-1]}"]
    return seen


def assert_samples(seen):
    allocated = [site for site in seen.sites if site.event == read_trace.ALLOCATED]
    assert len(allocated) > OF_BLOCKS
    assert {site.sample_bytes for site in allocated} == {4096}
    # Each of work()'s blocks is freed in the end.
    live = {site.number for site in allocated if site.bytes in (20000, 40000)}
    live -= {site.number for site in seen.sites if site.event == read_trace.FREED}
    assert len(live) <= sum(seen.totals["processes"][0]["events"].get(event, 0) for event in ("sample_not_followed", "sample_lost"))
    assert not [site for site in allocated if not site.stack]


@pytest.mark.parametrize("mode", GLIBC)
def test_the_program_does_the_same(mode, trace):
    assert_samples(sampled_as_ever(mode, trace))


needs_musl = pytest.mark.skipif(not shutil.which("musl-gcc"), reason="needs musl-tools: make deps")


@needs_musl
@pytest.mark.parametrize("mode", MUSL)
def test_the_program_does_the_same_with_musl(mode, trace):
    assert_samples(sampled_as_ever(mode, trace, compiler="musl-gcc"))


@pytest.mark.parametrize("mode", COUNTING)
def test_the_agent_calls_no_allocator_and_no_lock(mode, trace, shim):
    """What the program prints has the number of allocations in it, and the agent's calls of locks and of the linker."""
    seen = sampled_as_ever(mode, trace, [shim])
    assert_samples(seen)
    if mode == "handler":
        assert seen.totals["processes"][0]["events"].get("reentered_in_signal", 0) == 0


def test_what_takes_samples_refers_to_nothing_else():
    """Neither to locks, nor to the linker, nor to an allocator: by name to parts of the agent alone."""
    objects = [str(BUILD / f"obj/agent/{name}.o") for name in ("hook/sampled", "core/sample", "core/followed", "core/thread_meter")]
    listed = subprocess.run(["nm", "-u", *objects], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^ +U (\S+)", listed, re.M)) <= set(re.findall(r"rqs_\w+|_GLOBAL_OFFSET_TABLE_", listed))


@pytest.mark.parametrize("mode", ("filter", "filtered plainly"))
def test_behind_a_filter_a_stack_is_copied_without_the_kernel(mode, trace):
    """Which would end the process for it."""
    assert_samples(sampled_as_ever(mode, trace))


@pytest.mark.parametrize("mode", ("plainly", "held", "handler", "vfork"))
def test_freed_blocks_are_told_wherever_they_are_freed(mode, trace, shim):
    """A C library and the loader keep a few to the end."""
    seen = sampled_as_ever(mode, trace, behind=[shim])
    ended = {(site.process, site.number) for site in seen.sites if site.event != read_trace.ALLOCATED}
    followed = {(site.process, site.number) for site in seen.sites if site.event == read_trace.ALLOCATED and site.followed}
    assert len(followed - ended) <= 4 < len(followed) / 100


# ---- attached ----


@pytest.mark.parametrize("compiler", ("cc", pytest.param("musl-gcc", marks=needs_musl)))
def test_blocks_are_followed_where_samples_are_taken(compiler, trace):
    """Again and again, with recordings without samples in between."""
    with Server(SERVERS[compiler]) as server:
        for number, options in enumerate((("--sample-bytes", "4K"), (), ("--sites",), ("--sample-bytes", "8K"))):
            path = trace.with_name(f"{number}.rqs")
            with Attached(server.pid, path, *options) as attached:
                assert load.fixed(server.url + "/alloc?kb=64", 400).succeeded == 400
                time.sleep(SETTLE)
                assert attached.end() == 0, attached.said
            seen = ended_trace(path)
            allocated = [site for site in seen.sites if site.event == read_trace.ALLOCATED and site.route == "/alloc"]
            freed = {site.number for site in seen.sites if site.event == read_trace.FREED}
            expected = {0: 800, 1: 0, 2: 800 * 0.1175, 3: 800}[number]  # 1 - exp(-64 / 512)
            assert abs(len(allocated) - expected) <= 0.5 * expected * (number == 2) + 4
            assert all(site.bytes == 65536 and site.followed and site.number in freed for site in allocated)
            assert seen.run["options"].get("sample_bytes", 0) == {0: 4096, 1: 0, 2: 524288, 3: 8192}[number]
            assert hooks(server.pid) == []


def test_detaching_under_load_leaves_no_thread_behind(trace):
    with Server("httpd") as server:
        done = []
        loader = threading.Thread(target=lambda: done.append(load.fixed(server.url + "/alloc?kb=8", 60_000)))
        loader.start()
        for number in range(6):
            with Attached(server.pid, trace.with_name(f"{number}.rqs"), "--sample-bytes", "4K"):
                time.sleep(0.3)
        loader.join()
        assert done[0].succeeded == 60_000
        assert hooks(server.pid) == []
        assert load.fixed(server.url + "/alloc?kb=8", 100).succeeded == 100
