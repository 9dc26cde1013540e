#!/usr/bin/env python3
"""Runs the commands of the README's tour in one shell, as a reader would, and puts what they print back into the README.

    tour.py          prints the tour
    tour.py --write  ... and writes it into README.md

A command is a line with "$ " in front in a block of ```console, those that continue it have "> "; what stands below
them until the next one is its output. Commands with "| head" show that part alone. `make` isn't run.
"""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
SECTION = re.compile(r"^## A tour\b.*?(?=^## )", re.M | re.S)
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
PORT = "8000"

# A second is long enough where nothing else runs; the shell waits until the server listens.
PRELUDE = """
sleep() {
  for _ in $(seq 400); do
    grep -q " 0100007F:$(printf %04X "$PORT") 00000000:0000 0A" /proc/net/tcp && break
    command sleep 0.05
  done
  command sleep 0.5
}
"""


@dataclass
class Step:
    command: str
    output: list = field(default_factory=list)

    @property
    def is_run(self) -> bool:
        return not self.command.startswith("make")


def steps_of(block: str) -> list[Step]:
    steps = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:]))
        elif line.startswith("> "):
            steps[-1].command += "\n" + line[2:]
        else:
            steps[-1].output.append(line)
    return steps


def text_of(steps: list[Step]) -> str:
    lines = []
    for step in steps:
        lines.append("$ " + step.command.replace("\n", "\n> "))
        lines.extend(step.output)
    return "\n".join(lines) + "\n"


def tour(readme: str) -> list[Step]:
    return [step for block in BLOCK.findall(SECTION.search(readme)[0]) for step in steps_of(block)]


class Shell:
    """Bash in a folder of its own, from where build/ and tests/ are to be seen as from the project's."""

    def __init__(self, folder: Path, port: str = PORT, build: str = "build"):
        self.port = port
        (folder / "build").symlink_to(ROOT / build)
        (folder / "tests").symlink_to(ROOT / "tests")
        env = {**os.environ, "PORT": port, "LC_ALL": "C.UTF-8"}
        self.bash = subprocess.Popen(["timeout", "300", "bash"], cwd=folder, env=env, text=True, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        self.run(PRELUDE)

    def run(self, command: str, haste: int = 1) -> list[str]:
        """What it prints. With haste loads and recordings take a part of their time, whole seconds at least."""
        command = command.replace(PORT, self.port)
        command = re.sub(r"(-d|--duration )(\d+)", lambda m: f"{m[1]}{max(1, int(m[2]) // haste)}", command)
        self.bash.stdin.write(command + "\necho; echo END-OF-STEP\n")
        self.bash.stdin.flush()
        lines = []
        for line in self.bash.stdout:
            if line == "END-OF-STEP\n":
                break
            lines.append(line.rstrip("\n").replace(self.port, PORT))
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def close(self):
        self.bash.stdin.write("kill $(jobs -p) 2>/dev/null; wait; exit\n")
        self.bash.stdin.close()
        self.bash.stdout.read()
        self.bash.wait()


def main() -> int:
    readme = README.read_text()
    with tempfile.TemporaryDirectory(prefix="reqscope-tour-") as folder:
        shell = Shell(Path(folder), build=os.environ.get("BUILD", "build"))

        def shown(block):
            steps = steps_of(block[1])
            for step in steps:
                step.output = shell.run(step.command) if step.is_run else step.output
            print(text_of(steps), flush=True)
            return f"```console\n{text_of(steps)}```"

        section = SECTION.search(readme)
        text = BLOCK.sub(shown, section[0])
        shell.close()
    if "--write" in sys.argv[1:]:
        README.write_text(readme[: section.start()] + text + readme[section.end() :])
    return 0


if __name__ == "__main__":
    sys.exit(main())
