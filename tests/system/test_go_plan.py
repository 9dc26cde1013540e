"""What is planned for Go programs, against what binutils say of the same files."""

import json
import re
import shutil
import subprocess
from functools import lru_cache

import pytest
from recording import BUILD, REQSCOPE

BUILDS = ("nethttp", "nethttp-1.19", "nethttp-1.21", "nethttp-1.22", "nethttp-1.23", "nethttp-1.24", "nethttp-1.25",
          "nethttp-cgo", "nethttp-pie", "nethttp-static-pie", "nethttp-race", "gin", "fiber")
PROFILED = "nethttp-pgo"
MEASURES = {"allocations", "children", "times"}

# Kind of site: the function that it is in, and whether a stack check comes before the hook.
FUNCTIONS = {
    "SYSCALL_LOADED": (r"((internal/runtime|runtime/internal)/)?syscall(/linux)?\.(Raw)?Syscall6?", False),
    "SYSCALL_DONE": (r"((internal/runtime|runtime/internal)/)?syscall(/linux)?\.(Raw)?Syscall6?", False),
    "ALLOC": (r"runtime\.mallocgc", True),
    "STATUS": (r"runtime\.casgstatus", False),
    "PREEMPTED": (r"runtime\.casGToPreemptScan", True),
}
VARIABLES = {
    "heap_in_use": "runtime.gcController",
    "heap_live": "runtime.gcController",
    "heap_goal": "runtime.gcController",
    "gc_cycles": "runtime.memstats",
    "gc_pause_total": "runtime.memstats",
    "goroutines_all": "runtime.allglen",
    "goroutines_free": "runtime.sched",
    "goroutines_system": "runtime.sched",
}


def output(*command, **options) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, **options).stdout


def server(name):
    path = BUILD / "servers" / name
    if not path.exists():
        pytest.skip(f"{name} wasn't built: make deps")
    return path


def plan(path, status=0) -> dict:
    done = subprocess.run([REQSCOPE, "plan", "--json", path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (status, "")
    return json.loads(done.stdout)


@lru_cache
def symbols(path) -> dict:
    """Name: (address, size)."""
    found = re.findall(r"^(\w+) (\w+) \w (\S+)$", output("nm", "-S", path), re.M)
    return {name: (int(address, 16), int(size, 16)) for address, size, name in found}


def instructions(path, start: int, end: int) -> list:
    """(address, bytes, text) of each, as objdump decodes them from start."""
    text = output("objdump", "-d", "-w", "-z", f"--start-address={start}", f"--stop-address={end}", path)
    lines = re.findall(r"^ *([0-9a-f]+):\t((?:[0-9a-f]{2} )+) *\t(.*)$", text, re.M)
    return [(int(address, 16), code.replace(" ", ""), line.strip()) for address, code, line in lines]


def assert_site(path, site: dict):
    pattern, checked = FUNCTIONS[site["kind"]]
    assert re.fullmatch(pattern, site["name"])
    # Functions in assembly have a symbol of another name.
    start, size = symbols(path).get(site["name"]) or symbols(path)[site["name"] + ".abi0"]
    address, length, before = int(site["address"], 16), site["length"], site["before"]
    assert 5 <= length and start <= address and address + length <= start + size
    displaced = instructions(path, address, address + length)
    assert "".join(code for _, code, _ in displaced) == site["code"]
    # Whole instructions: decoded from the function's start, the same boundaries come out.
    boundaries = {at for at, _, _ in instructions(path, start, start + size)}
    assert {at for at, _, _ in displaced} | {address + length} <= boundaries
    if site["kind"] == "SYSCALL_DONE":
        assert instructions(path, address - 2, address)[0][2] == "syscall"
        assert [text for _, _, text in displaced] == ["cmp    $0xfffffffffffff001,%rax"]
    elif site["kind"] == "SYSCALL_LOADED":
        assert [text for _, _, text in displaced] in (["mov    %rcx,%rsi", "mov    %rbx,%rdi"], ["mov    0x8(%rsp),%rax"])
        assert instructions(path, address + length, address + length + 2)[0][2] == "syscall"
    else:
        # Behind the first instruction, where breakpoints are put.
        assert address == instructions(path, start, start + size)[1][0]
    if checked:
        first = [text for _, _, text in instructions(path, start, address)]
        check = [text for at, _, text in displaced if at < address + before]
        assert check[-1].startswith("jbe ") and "0x10(%r14)" in [*first, *check][-2]
    else:
        assert before == (length if site["kind"] == "SYSCALL_LOADED" else 0)


@pytest.mark.parametrize("name", BUILDS)
def test_all_is_found(name):
    path = server(name)
    found = plan(path)
    assert found["is_go"] and not found["why_not"]
    assert found["measures"] == dict.fromkeys(MEASURES, True)
    assert [site["kind"] for site in found["sites"]] == ["SYSCALL_LOADED", "SYSCALL_DONE", "ALLOC", "STATUS", "PREEMPTED"]
    for site in found["sites"]:
        assert_site(path, site)
    for figure, variable in VARIABLES.items():
        start, size = symbols(path)[variable]
        assert start <= int(found["figures"][figure], 16) < start + size, figure


def test_system_calls_in_assembly():
    """Before Go 1.19 four functions make them; of the figures some are kept elsewhere."""
    path = server("nethttp-1.18")
    found = plan(path)
    assert found["is_go"] and not found["why_not"]
    assert found["measures"] == dict.fromkeys(MEASURES, True)
    sites = found["sites"]
    assert [site["kind"] for site in sites] == ["SYSCALL_LOADED", "SYSCALL_DONE"] * 4 + ["ALLOC", "STATUS", "PREEMPTED"]
    assert {site["name"] for site in sites[:8]} == {"syscall." + name for name in (
        "Syscall", "Syscall6", "RawSyscall", "RawSyscall6")}
    for site in sites:
        assert_site(path, site)


def test_programs_with_plugins_are_for_requests_alone():
    """A plugin has copies of the runtime's functions: what it allocates would be missing without a word."""
    found = plan(server("nethttp-plugin"))
    assert found["measures"] == dict.fromkeys(MEASURES, False)
    assert [site["kind"] for site in found["sites"]] == ["SYSCALL_LOADED", "SYSCALL_DONE"]
    assert "plugins" in found["reasons"]["allocations"]


@pytest.mark.parametrize("name", (*BUILDS, "nethttp-1.18"))
def test_what_it_says_of_the_file(name):
    path = server(name)
    found = plan(path)
    headers = output("readelf", "-lW", path)
    loads = [(int(m[1], 16), int(m[2], 16), m[3]) for m in re.finditer(
        r"^  LOAD +\S+ (\S+) \S+ \S+ (\S+) (.{3})", headers, re.M)]
    assert int(found["image_start"], 16) == min(start for start, _, _ in loads)
    assert int(found["image_end"], 16) == max(start + size for start, size, _ in loads)
    assert [int(found["text_start"], 16)] == [start for start, _, flags in loads if "E" in flags]
    assert found["dynamic"] == ("(NEEDED)" in output("readelf", "-dW", path))
    assert found["position_independent"] == ("Elf file type is DYN" in headers)
    assert found["version"] in path.read_bytes()[: 64 << 20].decode("latin-1")
    assert found["curg_offset"] == (0xB8 if found["version"] >= "1.25" else 0xC0)


@pytest.mark.parametrize("name", BUILDS)
def test_where_a_thread_notes_that_it_left_go(name):
    """m.vdsoPC and m.vdsoSP are what nanotime1 stores first; in runtime2.go they are neighbours, SP first."""
    path = server(name)
    found = plan(path)
    start, size = symbols(path)["runtime.nanotime1.abi0"]
    stores = [re.fullmatch(r"mov +%r\w+,0x(\w+)\(%rbx\)", text) for _, _, text in instructions(path, start, start + size)]
    offsets = [int(store[1], 16) for store in stores if store]
    assert offsets[:2] == [found["vdso_pc_offset"], found["vdso_sp_offset"]] == [offsets[1] + 8, offsets[1]]


def without_section_headers(path, to):
    data = bytearray(path.read_bytes())
    data[0x28:0x30] = bytes(8)
    data[0x3C:0x40] = bytes(4)
    to.write_bytes(data)


@pytest.mark.parametrize(
    "name", ("nethttp", "nethttp-1.18", "nethttp-1.19", "nethttp-1.23", "nethttp-pie", "nethttp-static-pie")
)
def test_stripped(name, tmp_path):
    """No symbols, then no sections either: the plan is the same."""
    path = server(name)
    output("strip", "--strip-all", "-o", tmp_path / "stripped", path)
    without_section_headers(tmp_path / "stripped", tmp_path / "bare")
    assert plan(tmp_path / "stripped") == plan(tmp_path / "bare") == plan(path)


def code_of(path, function: str) -> list:
    start, size = symbols(path)[function]
    return [text for _, _, text in instructions(path, start, start + size)]


def changes_status(path, function: str) -> bool:
    """Whether a function changes a goroutine's status by an instruction of its own, as casgstatus does."""

    def exchanged(name):
        return {m[1] for text in code_of(path, name) if (m := re.match(r"lock cmpxchg %\w+,(0x\w+)\(", text))}

    (member,) = exchanged("runtime.casgstatus")
    return member in exchanged(function)


# Callers of casgstatus; that's the only way in which they change a status.
CALLERS = tuple("runtime." + name for name in (
    "execute", "ready", "park_m", "goready.func1", "goschedImpl", "goyield_m", "injectglist", "newproc1", "newproc.func1",
    "gdestroy", "goexit0", "gcMarkTermination", "stopTheWorldWithSema"))


def test_profiled():
    """The compiler, given a profile, puts copies of casgstatus into its callers: each is hooked at its exchange."""
    path = server(PROFILED)
    found = plan(path)
    assert found["measures"] == dict.fromkeys(MEASURES, True)
    assert any("runtime.mallocgc>" in text for text in code_of(path, "runtime.newobject"))
    copies = [site for site in found["sites"] if site["copied"]]
    holders = {name for name in CALLERS if name in symbols(path) and changes_status(path, name)}
    assert holders and {site["name"] for site in copies} == holders
    for site in found["sites"]:
        if not site["copied"]:
            assert_site(path, site)
    registers = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
    for site in copies:
        address = int(site["address"], 16)
        ((_, code, text),) = instructions(path, address, address + site["length"])
        new, goroutine = re.fullmatch(r"lock cmpxchg %(\w+),0x\w+\(%(\w+)\)", text).groups()
        assert (site["kind"], site["code"], site["before"]) == ("STATUS", code, 0)
        assert goroutine == registers[site["goroutine"]]
        assert new in (registers[site["status"]] + "d", registers[site["status"]].replace("r", "e"))


def go_command():
    fetched = sorted(BUILD.glob("go/mod/golang.org/toolchain@*1.26*/bin/go"))
    return shutil.which("go") or (str(fetched[-1]) if fetched else None)


def test_size_specialised(tmp_path):
    """An experiment of Go 1.26: the compiler's code and mallocgc call some 66 allocators, one for each size class."""
    go = go_command()
    if not go or " go1.26" not in output(go, "version"):
        pytest.skip("needs Go 1.26")
    (tmp_path / "main.go").write_text("package main\n\nfunc main() { println(len(make([]byte, 100))) }\n")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GOCACHE": str(BUILD / "go/cache"), "CGO_ENABLED": "0",
           "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw", "GOEXPERIMENT": "sizespecializedmalloc"}
    path = tmp_path / "program"
    output(go, "build", "-o", path, tmp_path / "main.go", env=env)
    found = plan(path)
    assert found["measures"]["allocations"]
    specialised = r"runtime\.mallocgc(SmallNoScanSC|SmallScanNoHeaderSC|TinySize)\d+"
    wanted = {name for name in symbols(path) if re.fullmatch(specialised, name)}
    assert len(wanted) > 40
    wanted |= {"runtime.mallocgc" + leaf for leaf in ("SmallNoscan", "SmallScanHeader", "Large")}
    assert {site["name"] for site in found["sites"] if site["kind"] == "ALLOC"} == wanted


@pytest.mark.parametrize("name", ("httpd", "start"))
def test_other_programs(name):
    found = plan(server(name), status=1)
    assert not found["is_go"] and found["sites"] == []


def test_files_that_are_no_programs(tmp_path):
    assert not plan(REQSCOPE.parent.parent / "Makefile", status=1)["is_go"]
    done = subprocess.run([REQSCOPE, "plan", tmp_path / "none"], capture_output=True, text=True)
    assert done.returncode == 2 and "No such file" in done.stderr
