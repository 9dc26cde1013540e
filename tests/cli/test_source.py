"""The rules that the source tree and the built objects keep."""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"

# Which folder may include what, by the first part of the path in quotes (README, "Layout").
MAY_INCLUDE = {
    "include/reqscope": {"reqscope"},
    "agent/core": {"core", "proto", "reqscope"},
    "agent/proto": {"core", "proto", "reqscope"},
    "agent/os": {"os", "core", "reqscope"},
    "agent/go": {"go", "os", "core", "reqscope"},
    "agent/python": {"python", "hook", "os", "core", "reqscope"},
    "agent/hook": {"hook", "go", "python", "os", "inject", "core", "runtime", "reqscope"},
    "agent/inject": {"inject", "unwind", "go", "os", "reqscope"},
    "agent/unwind": {"unwind", "inject", "reqscope"},
    "agent/runtime": {"runtime", "hook", "os", "reqscope"},
    "agent/collect": {"collect", "unwind", "reqscope"},
    "analyzer/base": {"base"},
    "analyzer/cmd": {"cmd", "collect", "inject", "os", "read", "model", "stats", "report", "render", "export", "merge", "base", "reqscope"},
    "analyzer/doctor": {"doctor", "cmd", "collect", "inject", "os", "base", "reqscope"},
    "analyzer/read": {"read", "base", "reqscope"},
    "analyzer/model": {"model", "read", "stats", "base", "reqscope"},
    "analyzer/stats": {"stats", "base", "reqscope"},
    "analyzer/export": {"export", "model", "stats", "read", "render", "base", "reqscope"},
    "analyzer/merge": {"merge", "collect", "model", "read", "base", "reqscope"},
    "analyzer/report": {"report", "model", "stats", "render", "read", "base", "reqscope"},
    "analyzer/render": {"render", "base", "reqscope"},
}


def sources():
    """All C files, tracked or not: also where the tree was unpacked from an archive."""
    folders = ("include", "agent", "analyzer", "tests")
    return [p.relative_to(ROOT) for f in folders for s in ("*.c", "*.h") for p in (ROOT / f).rglob(s)]


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def core_objects():
    return [str(p) for part in ("core", "proto", "os", "go") for p in sorted((BUILD / "obj/agent" / part).glob("*.o"))]


def test_core_needs_nothing_from_outside(tmp_path):
    """No libc, no helper of the compiler's: linked together, the core has no undefined symbol."""
    whole = tmp_path / "core.o"
    run("ld", "-r", "-o", str(whole), *core_objects())
    undefined = set(run("nm", "-u", str(whole)).split()) - {"U"}
    assert undefined <= {"_GLOBAL_OFFSET_TABLE_"}  # the linker makes it


def test_core_has_no_thread_local_storage():
    for path in core_objects():
        assert "TPOFF" not in run("readelf", "-rW", path)
        assert not re.search(r"\.t(data|bss)", run("readelf", "-SW", path))


def test_library_shows_only_what_it_interposes():
    listed = set(re.findall(r"^\t(\w+);", (ROOT / "agent/hook/exports.map").read_text(), re.M))
    shown = {line.split()[-1] for line in run("nm", "-D", "--defined-only", "build/libreqscope.so").splitlines()}
    assert shown == listed
    assert not any(name.startswith("rqs_") for name in shown)


def test_library_links_no_third_party_code():
    """A library of ours that the host also uses, in another version, would clash."""
    needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", "build/libreqscope.so"))
    assert set(needed) <= {"libc.so.6"}


def test_library_can_be_loaded_by_old_glibc():
    """It goes into whatever programs there are, and those may have come with a C library of their own."""
    asked = re.findall(r"GLIBC_([\d.]+)", run("objdump", "-T", "build/libreqscope.so"))
    assert asked and max(tuple(map(int, version.split("."))) for version in asked) <= (2, 17)


def test_looking_at_programs_touches_nothing():
    """It runs in vfork children, on the parent's memory: it calls nothing that allocates, and has nothing to write to."""
    objects = [f"build/obj/agent/{name}.o" for name in ("hook/interpreter", "hook/environment", "os/executable")]
    undefined = set(run("nm", "-u", *objects).split()) - {"U"} - {f"{name}:" for name in objects}
    assert all(re.match(r"(mem|str)|rqs_(session|executable_\w+)$|_GLOBAL_OFFSET_TABLE_$", name) for name in undefined), undefined
    assert set(re.findall(r"^\.(?:data|bss|tdata|tbss) +(\d+)", run("size", "-A", *objects), re.M)) == {"0"}


def test_folders_include_only_what_they_may():
    wrong = []
    for path in sources():
        folder = str(path.parent)
        allowed = next((v for k, v in MAY_INCLUDE.items() if folder == k or folder.startswith(k + "/")), None)
        if allowed is None:
            continue
        for name in re.findall(r'^\s*#\s*include "([^"]+)"', (ROOT / path).read_text(), re.M):
            if name.split("/")[0] not in allowed:
                wrong.append(f"{path}: {name}")
    assert wrong == []


def test_file_names_are_unique():
    names = [path.name for path in sources() if not str(path).startswith("tests/")]
    assert sorted(n for n in set(names) if names.count(n) > 1) == []
