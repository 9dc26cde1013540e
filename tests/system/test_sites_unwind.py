"""Stacks as the collector unwinds them, from a sample's registers and piece of stack: they are as gdb's at the same stop."""

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
import pytest
from procfs import descendants
from read_trace import ALLOCATED
from recording import BUILD, ended_trace, meanwhile, run_prefix
from serve import Server

HERE = Path(__file__).parent
UNWINDER = BUILD / "attach/unwinder"
STOPS = 30
NATIVE, PYTHON, NODE = 0, 1, 2  # enum rqs_runtime
KIND_SCRIPT, KIND_NOTE = 3, 4  # enum rqs_frame_kind
AT_LEAST = 0.99

pytestmark = pytest.mark.skipif(not shutil.which("gdb"), reason="needs gdb")

# Its functions call each other so that what is inlined, what isn't and which line is at it are known.
CHAIN = r"""
#include <stdlib.h>
volatile int n;
static inline __attribute__((always_inline)) void innermost(int x)
{
	for (int i = 0; i < 1000; i++)
		n += x; /* line: innermost */
}
static __attribute__((noinline)) int middle(int x)
{
	innermost(x); /* line: middle */
	return n + 1;
}
__attribute__((noinline)) int outer(int x)
{
	int below = middle(x); /* line: outer */
	return below * 2;
}
int main(void)
{
	for (;;)
		outer(3); /* line: main */
}
"""
# It stays where it has taken back its caller's frame pointer, of which GCC's tables don't tell.
EPILOGUE = r"""
__asm__(".globl ending\n.type ending, @function\nending:\n.cfi_startproc\n"
	"push %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset %rbp, -16\n"
	"pop %rbp\n.cfi_def_cfa_offset 8\n"
	"1: pause\njmp 1b\nret\n.cfi_endproc\n.size ending, . - ending\n");
void ending(void);
__attribute__((noinline, optimize("no-omit-frame-pointer"))) static void caller(volatile unsigned size)
{
	volatile char room[size];
	room[0] = 1;
	ending();
	room[0]++;
}
int main(int argc, char **argv)
{
	(void)argv;
	caller(100 * (unsigned)argc);
}
"""
LINES = {re.search(r"line: (\w+)", line)[1]: number
         for number, line in enumerate(CHAIN.split("\n"), 1) if "line: " in line}  # fmt: skip

# Which way it takes to malloc() is what it asks for, from the lowest bit on: 0 left(), 1 right().
LEVELS, BASE = 7, 1 << 20
WAYS = r"""
#include <stdlib.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>
enum { BASE = 1 << 20, LEVELS = 7 };
void *volatile last;
__attribute__((noipa)) static void go_on(unsigned way, int level);
__attribute__((noipa)) static void left(unsigned way, int level)
{
	volatile char room[200];
	room[way] = 1;
	go_on(way, level + 1);
	room[way]++;
}
__attribute__((noipa)) static void right(unsigned way, int level)
{
	volatile char *room = __builtin_alloca(4 * (way + 1)); /* known by the frame pointer alone */
	room[way] = 1;
	go_on(way, level + 1);
	room[way]++;
}
__attribute__((noipa)) static void go_on(unsigned way, int level)
{
	if (level == LEVELS)
		last = malloc(BASE + way);
	else if (way >> level & 1)
		right(way, level);
	else
		left(way, level);
	__asm__ volatile("");
	free(last);
	last = NULL;
}
int main(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = {.sin_family = AF_INET};
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1))
		return 1;
	for (unsigned way = 0; way < 1 << LEVELS; way++) {
		go_on(way, 0);
		usleep(1000);
	}
	sleep(1);
	return 0;
}
"""


@dataclass
class Frame:
    address: int
    kind: int
    inlined: bool
    line: int
    module: str
    file: str
    function: str

    @classmethod
    def of(cls, line):
        address, kind, inlined, number, *texts = line.split("\t")
        return cls(int(address, 16), int(kind), inlined == "1", int(number), *texts)


def stop_and_look(pid, folder, stops=STOPS, runtime=NATIVE):
    """gdb's stacks, as lists of addresses, and ours, as lists of frames, of the same moments."""
    out = folder / "stops"
    command = ["gdb", "-nx", "-batch", "-ex", f"python pid, count, out = {pid}, {stops}, '{out}'", "-x",
               str(HERE / "gdb_stacks.py")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert out.with_suffix(".json").exists(), done.stdout + done.stderr
    with open(out.with_suffix(".samples"), "rb") as samples:
        told = subprocess.run([UNWINDER, str(pid), str(runtime)], stdin=samples, capture_output=True, text=True, check=True)
    ours = [[Frame.of(line) for line in stack.split("\n")] for stack in told.stdout.split("\n\n")[:-1]]
    gdbs = json.loads(out.with_suffix(".json").read_text())
    assert len(ours) == len(gdbs) >= stops
    return gdbs, ours


def is_nameless(frame):
    """Of a build without names for V8's builtins, as Debian 12's: it may be one."""
    return frame.module.startswith(("node", "libnode")) and frame.function.startswith("0x")


def native(frames):
    """The addresses, up to where V8's builtins or a script's code begin, from which on gdb's are guesses; and whether it ends there."""
    found = []
    for frame in frames:
        if frame.kind == KIND_NOTE:
            return found, True
        found += [frame.address] if not frame.inlined else []
        if frame.kind == KIND_SCRIPT or frame.function.startswith("Builtins_") or is_nameless(frame):
            return found, True
    return found, False


def equal(gdbs, frames):
    addresses, cut = native(frames)
    return addresses == (gdbs[: len(addresses)] if cut else gdbs)


def check_equal(gdbs, ours):
    wrong = [(a, b) for a, b in zip(gdbs, ours) if not equal(a, b)]
    cut = sum(frames[-1].kind == KIND_NOTE for frames in ours)
    print(f"{len(ours)} stacks, {len(ours) - len(wrong)} equal to gdb's, {cut} cut")
    for addresses, frames in wrong[:3]:
        print([hex(address) for address in addresses], *frames, sep="\n")
    assert len(wrong) <= (1 - AT_LEAST) * len(ours)
    # V8's builtins have no frame information; Debian's Node hasn't their names either, by which they are known.
    stripped = any(is_nameless(frame) for frames in ours for frame in frames)
    assert stripped or not any(frame.function == "(unknown code)" for frames in ours for frame in frames)


def loaded(url):
    """Requests come all the time; the answers wait while the server is stopped."""
    return meanwhile(lambda: load.timed(url, 4, 2))


@contextmanager
def running(*command, **options):
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, **options)
    try:
        time.sleep(0.3)
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name, path, runtime", [("nginx", "/json", NATIVE), ("fastapi-uvloop", "/json", PYTHON),
                                                 ("express", "/json", NODE)])  # fmt: skip
def test_servers_stacks_are_as_gdbs(name, path, runtime, tmp_path):
    with Server(name) as server, loaded(server.url + path):
        pid = descendants(server.pid)[0] if name == "nginx" else server.pid
        # gdb takes seconds a stop to read what there may be of an interpreter's debugging information.
        gdbs, ours = stop_and_look(pid, tmp_path, stops=10 if runtime == PYTHON else STOPS, runtime=runtime)
    check_equal(gdbs, ours)
    check_scripts_ends(ours)


def check_scripts_ends(ours):
    """Behind a script's code, which gdb doesn't know, it goes on up to where the program begins. Their number."""
    scripts = [frames for frames in ours if any(frame.kind == KIND_SCRIPT for frame in frames)]
    ends = {frames[-1].function for frames in scripts}
    assert ends <= {"_start", "(truncated)"}, ends
    return len(scripts)


def test_a_node_scripts_stacks_are_as_gdbs_and_go_on(tmp_path):
    script = tmp_path / "busy.js"
    script.write_text("""
function rows(n) { const all = []; for (let i = 0; i < n; i++) all.push({i, name: 'x' + i}); return all; }
function work() {
  const read = JSON.parse(JSON.stringify(rows(300)));
  read.sort((a, b) => a.name < b.name ? -1 : 1);
  return Buffer.alloc(100000).length + read.length;
}
function turn() { work(); setImmediate(turn); }
turn();
""")
    with running("node", script) as pid:
        gdbs, ours = stop_and_look(pid, tmp_path, runtime=NODE)
    check_equal(gdbs, ours)
    assert check_scripts_ends(ours) > 5
    wholes = [frames for frames in ours if frames[-1].function == "_start"]
    assert any("node::Start(int, char**)" in {frame.function for frame in frames} for frames in wholes)


def test_a_python_scripts_stacks_are_as_gdbs(tmp_path):
    script = tmp_path / "busy.py"
    script.write_text("""
import json, re
data = {str(i): list(range(50)) for i in range(50)}
def work():
    read = json.loads(json.dumps(data))
    return sorted(read, key=lambda key: re.sub("1", "2", key))
def deep(level):
    return work() if not level else max(deep(level - 1), key=len)
while True:
    deep(5)
""")
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else "python3"
    with running(python, script) as pid:
        gdbs, ours = stop_and_look(pid, tmp_path, runtime=PYTHON)
    check_equal(gdbs, ours)
    assert any(frame.function == "_PyEval_EvalFrameDefault" for frames in ours for frame in frames)


def build(folder, *options, source=CHAIN, compiler="gcc", name="chain"):
    program, file = folder / name, folder / "chain.c"
    file.write_text(source)
    subprocess.run([compiler, "-O2", *options, "-o", program, file], check=True)
    return program


def stacks_of(program, folder, **options):
    with running(program, **options) as pid:
        gdbs, ours = stop_and_look(pid, folder, stops=5)
    check_equal(gdbs, ours)
    return ours


def check_named(stacks, with_lines):
    """Some stop is in the loop; everything is named in each."""
    for frames in stacks:
        names = [frame.function for frame in frames if frame.module == "chain"]
        names = names[: names.index("main") + 1]
        assert names == ["innermost", "middle", "outer", "main"][-len(names):], names
        lines = {frame.function: frame.line for frame in frames if frame.function in ("outer", "main")}
        if "outer" in names and names.index("outer") > 0:
            assert lines["outer"] == (LINES["outer"] if with_lines else 0)
    if not with_lines:
        return
    deepest = max(stacks, key=len)
    assert [(f.function, f.line, f.inlined) for f in deepest[:4]][1:] == [
        ("middle", LINES["middle"], False), ("outer", LINES["outer"], False), ("main", LINES["main"], False)]  # fmt: skip
    assert deepest[0].function == "innermost" and deepest[0].inlined and deepest[0].file.endswith("/chain.c")


def way_to(size):
    """The functions of an allocation, the innermost first."""
    turns = [("go_on", "right" if size - BASE >> level & 1 else "left") for level in range(LEVELS)]
    return ["main", *(name for turn in turns for name in turn), "go_on"][::-1]


def test_stacks_of_samples_are_the_ways_that_were_taken(trace, tmp_path):
    """From the hook of malloc, through the agent's own functions, which aren't shown."""
    program = build(tmp_path, source=WAYS, name="ways")
    subprocess.run([*run_prefix(trace, "--sites", "--sample-bytes", "4096"), program], check=True, timeout=60)
    recorded = ended_trace(trace)
    sampled = [site for site in recorded.sites if site.event == ALLOCATED and site.bytes >= BASE]
    assert len(sampled) == 1 << LEVELS
    for site in sampled:
        functions = [frame["function"] for frame in recorded.stack(site.stack)]
        assert "main" in functions, functions
        assert functions[: functions.index("main") + 1] == way_to(site.bytes)
        assert functions[-1] == "_start"


def test_what_an_epilogue_has_taken_back(tmp_path):
    for frames in stacks_of(build(tmp_path, source=EPILOGUE), tmp_path):
        assert [frame.function for frame in frames][:3] == ["ending", "caller", "main"]


def test_names_and_lines(tmp_path):
    check_named(stacks_of(build(tmp_path, "-g"), tmp_path), True)


def test_without_debugging_information(tmp_path):
    check_named(stacks_of(build(tmp_path), tmp_path), False)


def strip_apart(program, link):
    """What is stripped from the program goes to another file, which is returned."""
    apart = program.with_suffix(".debug")
    subprocess.run(["objcopy", "--only-keep-debug", program, apart], check=True)
    subprocess.run(["strip", program], check=True)
    if link:
        subprocess.run(["objcopy", f"--add-gnu-debuglink={apart}", program], check=True)
    return apart


@pytest.mark.parametrize("where", (".", ".debug"))
@pytest.mark.parametrize("build_id", ("none", "sha1"))
def test_stripped_with_a_debug_file_beside_it(where, build_id, tmp_path):
    program = build(tmp_path, "-g", f"-Wl,--build-id={build_id}")
    apart = strip_apart(program, True)
    (tmp_path / where).mkdir(exist_ok=True)
    apart.rename(tmp_path / where / apart.name)
    check_named(stacks_of(program, tmp_path), True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a root of its own")
def test_stripped_with_a_debug_file_by_build_id_in_its_own_root(tmp_path):
    """That a program with another root is looked at is tested by the way."""
    program = build(tmp_path, "-g", "-static", "-Wl,--build-id=sha1")
    apart = strip_apart(program, False)
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    build_id = re.search(r"Build ID: (\w+)", notes)[1]
    folder = tmp_path / "usr/lib/debug/.build-id" / build_id[:2]
    folder.mkdir(parents=True)
    apart.rename(folder / f"{build_id[2:]}.debug")
    with running("chroot", tmp_path, "/chain") as pid:
        _, ours = stop_and_look(pid, tmp_path, stops=5)
    check_named(ours, True)


def test_stripped_with_another_programs_debug_file(tmp_path):
    """It has the right name, but neither its build-id nor its checksum: no names are better than wrong ones."""
    program = build(tmp_path, "-g")
    strip_apart(program, True)
    other = build(tmp_path, "-g", "-O0", "-Wl,--build-id=none", name="other")
    shutil.copy(other, program.with_suffix(".debug"))
    for frames in stacks_of(program, tmp_path):
        assert {frame.function[:2] for frame in frames if frame.module == "chain"} == {"0x"}


def test_stripped_without_a_debug_file(tmp_path):
    """A function then is known by where it begins, as linked: the same in every run."""
    program = build(tmp_path)
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    starts = {name: f"0x{int(address, 16):x}" for address, _, name in re.findall(r"^(\w+) (\w) (\w+)$", symbols, re.M)}
    subprocess.run(["strip", program], check=True)
    stacks = stacks_of(program, tmp_path)
    names = {frame.function for frames in stacks for frame in frames if frame.module == "chain"}
    assert names <= set(starts.values()) and {starts["main"], starts["outer"]} <= names


def test_exported_functions_are_named_without_other_symbols(tmp_path):
    program = build(tmp_path, "-rdynamic")
    subprocess.run(["strip", program], check=True)
    names = {frame.function for frames in stacks_of(program, tmp_path) for frame in frames if frame.module == "chain"}
    assert {"main", "outer"} <= names and "middle" not in names


@pytest.mark.parametrize("options", [("-Wl,--no-eh-frame-hdr",), ("-static", "-Wl,--no-eh-frame-hdr")])
def test_a_program_without_a_table_of_its_functions(options, tmp_path):
    program = build(tmp_path, *options)
    assert "GNU_EH_FRAME" not in subprocess.run(["readelf", "-lW", program], capture_output=True, text=True).stdout
    check_named(stacks_of(program, tmp_path), False)


@pytest.mark.skipif(not shutil.which("musl-gcc"), reason="needs musl-gcc")
@pytest.mark.parametrize("options", [(), ("-static",)])
def test_a_program_of_musls(options, tmp_path):
    with running(build(tmp_path, *options, compiler="musl-gcc")) as pid:
        _, ours = stop_and_look(pid, tmp_path, stops=5)
    check_named(ours, False)
    assert {frames[-1].kind for frames in ours} == {NATIVE}


def test_a_program_that_was_replaced(tmp_path):
    """Its file has no name any more, and another one has that name: root still gets at the former, others at none."""
    program = build(tmp_path)
    with running(program) as pid:
        program.unlink()
        other = build(tmp_path, "-O0", "-Dmiddle=wrong", "-Douter=wrong2")
        _, ours = stop_and_look(pid, tmp_path, stops=5)
        assert other.exists()
    names = {frame.function for frames in ours for frame in frames if frame.module == "chain"}
    assert not any("wrong" in name for name in names)
    if os.geteuid() == 0:
        assert {"main", "outer"} <= names
