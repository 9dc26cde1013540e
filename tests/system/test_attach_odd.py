"""Objects whose slots are filled late, otherwise than usual, or by another: all is as before after the detach, and works meanwhile."""

import subprocess
from contextlib import contextmanager
from pathlib import Path

import procfs
import pytest
from attaching import hooks
from recording import LIBRARY
from test_attach_go import ATTACHER, attacher, session
from test_attach_hooks import MUSL_LIBRARY, slots

HERE = Path(__file__).parent
USUAL = 11 * 9  # EBADF of that many calls
CYCLES = 40

# name -> how it is loaded, how it is built
OBJECTS = {
    "lazy": ("l", ["-Wl,-z,lazy"]),
    "open": ("l", ["-Wl,-z,lazy,-z,norelro"]),
    "now": ("", ["-Wl,-z,now"]),
    "noplt": ("l", ["-fno-plt", "-Wl,-z,lazy"]),
    "pointers": ("l", ["-DPOINTERS", "-Wl,-z,lazy"]),
    "pointersnow": ("", ["-DPOINTERS", "-Wl,-z,now"]),
    "textrel": ("", ["-fno-pic", "-mcmodel=large", "-Wl,-z,notext"]),
    "relr": ("", ["-DPOINTERS", "-Wl,-z,pack-relative-relocs"]),
    "deep": ("ld", ["-Wl,-z,lazy", "-Wl,--no-as-needed", "{folder}/rival.so", "-Wl,-rpath,{folder}"]),
    "space": ("n", ["-Wl,-z,lazy"]),
}


def build(folder: Path, name: str, *words) -> Path:
    to = folder / f"{name}.so"
    words = [word.format(folder=folder) for word in words]
    command = ["cc", "-shared", "-O1", *([] if "-fno-pic" in words else ["-fPIC"]), "-o", to,
               HERE / "attach_odd_object.c", *words]  # fmt: skip
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL if name == "textrel" else None)
    return to


class Odd:
    def __init__(self, process):
        self.process, self.pid = process, process.pid

    def tell(self, words: str):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def ask(self, words: str) -> str:
        self.tell(words)
        return self.hear()

    def hear(self) -> str:
        return self.process.stdout.readline().strip()

    def numbers(self) -> dict[str, int]:
        return {name: int(number) for name, number in (pair.split("=") for pair in self.ask("use").split())}


@contextmanager
def odd(folder: Path, names, preloaded=""):
    """The program with these objects; a name with a number is a copy."""
    program, files = folder / "odd", []
    subprocess.run(["cc", "-O1", "-o", program, HERE / "attach_odd.c", "-ldl", "-lpthread"], check=True)
    build(folder, "rival", "-DRIVAL")
    for name in names:
        how, words = OBJECTS.get(name.rstrip("0123456789"), OBJECTS["lazy"])
        files.append(f"{name}={how or '-'}:{build(folder, name, *words)}")
    process = subprocess.Popen([program, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env={"LD_PRELOAD": str(preloaded)} if preloaded else {})  # fmt: skip
    try:
        assert process.stdout.readline() == "ready\n"
        yield Odd(process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def attached(target: Odd, trace: Path):
    with session(target.pid, trace) as token:
        assert attacher("attach", target.pid, token, LIBRARY, MUSL_LIBRARY)[0] == 0
        yield
    assert attacher("detach", target.pid)[0] == 0


def expected(names, sendfile=9) -> dict[str, int]:
    numbers = {name: USUAL + sendfile - 9 for name in names}
    # Those find libc's before what is preloaded.
    return numbers | {name: number for name, number in (("deep", USUAL - 9 + 1000), ("space", USUAL)) if name in names}


KINDS = pytest.mark.parametrize("sendfile", [9, 20000], ids=["", "ifunc"])


def preload(folder: Path, sendfile: int):
    return "" if sendfile == 9 else build(folder, "chosen", "-DCHOSEN")


@KINDS
def test_resolved_before(sendfile, tmp_path):
    numbers = expected(OBJECTS, sendfile)
    with odd(tmp_path, OBJECTS, preload(tmp_path, sendfile)) as target:
        assert target.numbers() == numbers
        before = slots(target.pid)
        for _ in range(3):
            with attached(target, tmp_path / "a.rqs"):
                assert hooks(target.pid)
                assert target.numbers() == numbers
            assert hooks(target.pid) == []
            assert slots(target.pid) == before
            assert target.numbers() == numbers


@KINDS
def test_resolved_after(sendfile, tmp_path):
    with odd(tmp_path, OBJECTS, preload(tmp_path, sendfile)) as target:
        before = slots(target.pid)
        for _ in range(3):
            with attached(target, tmp_path / "a.rqs"):
                assert hooks(target.pid)
            assert slots(target.pid) == before
        assert target.numbers() == expected(OBJECTS, sendfile)


@KINDS
def test_resolved_while_attached(sendfile, tmp_path):
    with odd(tmp_path, OBJECTS, preload(tmp_path, sendfile)) as target:
        for _ in range(2):
            with attached(target, tmp_path / "a.rqs"):
                assert target.numbers() == expected(OBJECTS, sendfile)
            assert hooks(target.pid) == []
        assert target.numbers() == expected(OBJECTS, sendfile)


def test_called_first_while_hooks_come_and_go(tmp_path):
    """The linker writes the same slots, and objects take the places of others."""
    churners = [f"churn{i}" for i in range(3)]
    with odd(tmp_path, ["lazy", *churners]) as target:
        target.ask("churn")
        with session(target.pid, tmp_path / "a.rqs") as token:
            command = [ATTACHER, "cycles", str(target.pid), token, LIBRARY, MUSL_LIBRARY, str(CYCLES)]
            seen = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout.splitlines()
        times, wrong = map(int, target.ask("rest").split())
        assert procfs.alive(target.pid) and hooks(target.pid) == []
        assert target.numbers() == expected(["lazy"])
    print(f"{times} times loaded; {seen[-1:]}")
    assert len(seen) == 2 * CYCLES and all(line.startswith("0 ") for line in seen), seen
    assert times > CYCLES and not wrong
