"""Manual pages and completions say what --help says, and the shells that are here complete by them."""

import os
import re
import shutil
import subprocess

import pytest
from reqscope_cli import REQSCOPE, ROOT, TRACES, run

SHARE = REQSCOPE.parent / "share"
TRACE = TRACES / "v1-small.rqs"
PAGES = sorted(SHARE.glob("man/man?/*"))
HELP = run("--help")[0]
COMMANDS = re.findall(r"^  ([a-z]+) ", HELP.partition("commands:")[2].partition("examples:")[0], re.M)


def help_of(command):
    return run(command, "--help")[0]


def options_of(command):
    """What --help lists, and --help."""
    listed = [re.split("  +", line)[1] for line in help_of(command).splitlines() if line.startswith("  -")]
    return {option for names in listed for option in re.findall(r"(?:^|, )(--?[a-z-]+)", names)} | {"--help"}


def formats_of(command):
    """Those that the program takes."""
    named = run(command, "--format", "?", status=2)[1].partition("there are ")[2].partition(";")[0].split(", ")
    files = [TRACE] * (2 if command == "compare" else 1)
    said = {f: subprocess.run([REQSCOPE, command, "--format", f, *files], capture_output=True).stderr for f in named}
    return {name for name, text in said.items() if b"--format " not in text}


def shown(page):
    """As text, with wide lines."""
    text = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=1000", page], capture_output=True, text=True, check=True).stdout
    return re.sub(".\b", "", text).replace("\u2010", "-").replace("’", "'")


@pytest.fixture(params=("bash", "zsh", "fish"))
def complete(request, tmp_path):
    """complete(line): what the shell completes behind it."""
    if not shutil.which(request.param):
        pytest.skip(f"no {request.param}")
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "TERM": "dumb"}

    def ask(*command):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == 0 and not done.stderr, (done.returncode, done.stderr)
        words = [line.partition("\t")[0].strip() for line in done.stdout.splitlines()]
        return {word.partition("=")[2] or word for word in words} - {""}

    def in_bash(line):
        # As readline divides a line: "=" is a word.
        words = re.findall(r"=|[^= ]+", line) + ([""] if line.endswith(" ") else [])
        script = """source "$0"; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            [[ $(complete -p reqscope) =~ -F\\ ([^ ]+) ]] && ${BASH_REMATCH[1]}; printf '%s\\n' "${COMPREPLY[@]}" """
        return ask("bash", "--norc", "-c", script, SHARE / "bash-completion/completions/reqscope", *words)

    def in_zsh(line):
        return ask("zsh", "-f", ROOT / "tests/tools/complete.zsh", line, SHARE / "zsh/site-functions", tmp_path)

    def in_fish(line):
        script = "source $argv[1]; complete -C $argv[2]"
        return ask("fish", "--no-config", "-c", script, SHARE / "fish/vendor_completions.d/reqscope.fish", line)

    return {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}[request.param]


def test_every_command_has_a_page():
    names = {page.name for page in PAGES}
    assert names == {"reqscope.1", "reqscope-trace.5"} | {f"reqscope-{command}.1" for command in COMMANDS}
    overview = shown(SHARE / "man/man1/reqscope.1")
    assert all(f"reqscope-{command}(1)" in overview for command in COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_no_mistakes(page):
    said = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    if not shutil.which("groff") or not shutil.which("man"):
        return
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
    said = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page], capture_output=True, env=environment)
    assert (said.returncode, said.stderr) == (0, b"")


@pytest.mark.parametrize("command", COMMANDS)
def test_pages_say_what_help_says(command):
    page = shown(SHARE / f"man/man1/reqscope-{command}.1")
    text = help_of(command)
    # Word by word: the page has them in sections, and so in another order.
    words = {word for word in re.findall(r"[^\s`]+", text) if word not in ("usage:", "examples:", "exit", "status:")}
    assert {word for word in words if word not in page} == set()
    every = set().union(*(options_of(other) for other in COMMANDS))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", page)) <= every


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_the_programs(command):
    for option in options_of(command):
        said = subprocess.run([REQSCOPE, command, option], capture_output=True, text=True, stdin=subprocess.DEVNULL).stderr
        assert not re.search("(no|unknown) option", said), said


def test_the_formats_page_has_all_of_its_source():
    page = shown(SHARE / "man/man5/reqscope-trace.5")
    source = (ROOT / "include/reqscope/trace_format.md").read_text()
    words = set(re.findall(r"[\w.]+", source.partition("\n")[2])) - {"Frame", "Columns", "requests"}
    assert {word for word in words if word not in page and word.upper() not in page} == set()


def test_commands_complete(complete):
    assert complete("reqscope ") - {"--help", "--version"} == set(COMMANDS)
    assert complete("reqscope me") == {"merge"}


def test_options_complete(complete):
    for command in COMMANDS:
        long = {option for option in options_of(command) if option.startswith("--")}
        assert complete(f"reqscope {command} --") == long, command


def test_values_complete(complete):
    for command in ("report", "compare", "info", "export"):
        assert complete(f"reqscope {command} --format ") == formats_of(command)
    assert complete("reqscope compare --inconclusive=") == {"pass", "fail"}
    assert complete("reqscope report --skip ") == set()


def test_arguments_complete(complete):
    assert any(word.endswith("v1-small.rqs") for word in complete("reqscope report tests/traces/"))
    assert any(word.endswith("v1-small.rqs") for word in complete("reqscope compare tests/traces/"))
    assert str(os.getpid()) in complete("reqscope attach ")
    assert "true" in complete("reqscope run tru")
    assert any(word.startswith("LICENSE") for word in complete("reqscope report --output LIC"))
