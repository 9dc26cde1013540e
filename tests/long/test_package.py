"""The Debian package: built twice in unlike places, judged by lintian, and installed, used and removed in a fresh Debian 12.

`make package-check`, as root: debootstrap makes the system in build/chroots, and it is deleted at the end. What goes into it of this
machine are its ways to the package mirror (resolver, hosts) and the package.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from recording import ROOT

SECONDS = 1800
USE = Path(__file__).with_name("package_use.py")

# Two places that differ in whatever a build could take up; a second passes between them.
PLACES = {
    "a": {"LC_ALL": "C", "TZ": "UTC", "DEB_BUILD_OPTIONS": "parallel=2", "umask": 0o022},
    "another/and/a-longer-one": {"LC_ALL": "C.UTF-8", "TZ": "Pacific/Chatham", "DEB_BUILD_OPTIONS": "parallel=1", "umask": 0o077},
}

# What every installation of any package writes.
NOT_OURS = ("/var/lib/dpkg/", "/var/lib/apt/", "/var/cache/", "/var/log/", "/etc/ld.so.cache", "/tmp/", "/home/", "/root/", "/proc/", "/dev/",
            "/var/lib/systemd/", "/run/")  # fmt: skip

# In a namespace of its own, which ends with all of its processes and mounts.
ENTER = """
cd "$1" && mount -t proc proc proc && mount -t tmpfs tmpfs dev/shm && shift &&
	exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
"""


def sums(folder: Path, pattern: str) -> dict[str, str]:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob(pattern) if path.is_file()}
    assert found, f"no {pattern} in {folder}"
    return found


def built(folder: Path, umask=0o022, **environment) -> Path:
    """The last commit, cloned to folder; the package and the programs are made there."""
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True, umask=umask)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))} | environment
    for target in ("deb", "all"):
        with open(f"{folder}.log", "w+") as log:
            done = subprocess.run(["make", "-j2", target], cwd=folder, env=env, umask=umask, stdout=log, stderr=log, timeout=SECONDS)
            log.seek(0)
            assert done.returncode == 0, log.read()[-3000:]
    return folder


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    made = []
    for name, settings in PLACES.items():
        folder = tmp_path_factory.mktemp("built") / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        made.append(built(folder, **settings))
        print(f"built in {time.monotonic() - begin:.0f} s in {name!r}")
    return made


@pytest.fixture(scope="module")
def package(trees) -> Path:
    (path,) = (trees[0] / "build/deb").glob("reqscope_*.deb")
    return path


class System:
    """A fresh Debian."""

    def __init__(self, root: Path):
        self.root = root

    def run(self, *words, status=0) -> str:
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh", self.root, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == status, (words, done.returncode, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout

    def files(self) -> set[str]:
        found = self.run("find", "/", "-xdev").splitlines()
        return {path for path in found if not (path + "/").startswith(NOT_OURS) and "__pycache__" not in path}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    if os.geteuid():
        pytest.skip("debootstrap needs root")
    folder = ROOT / "build/chroots"
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / f"package.{os.getpid()}"
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase", "bookworm", root]
    command += [os.environ[name] for name in ("DEBIAN_MIRROR",) if name in os.environ]
    begin = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", root / "etc" / name)
        made = System(root)
        # What a server and a reader of manual pages have; and a user.
        made.run("apt-get", "-qq", "update")
        made.run("apt-get", "-qq", "install", "--no-install-recommends", "-y", "python3-minimal", "python3", "man-db")
        made.run("useradd", "-m", "somebody")
        print(f"Debian {made.run('cat', '/etc/debian_version').strip()} made in {time.monotonic() - begin:.0f} s")
        yield made
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_the_same_bytes(trees):
    """Packages, debugging symbols, programs, libraries, pages and completions."""
    first, second = trees
    assert sums(first / "build/deb", "*.deb") == sums(second / "build/deb", "*.deb")
    for pattern in ("build/reqscope", "build/reqscope-place", "build/*.so", "build/share/man/*/*", "build/share/*/*/*reqscope*"):
        assert sums(first, pattern) == sums(second, pattern)
    print(*(f"{name}: {(first / 'build/deb' / name).stat().st_size} B, {sum}" for name, sum in sums(first / "build/deb", "*.deb").items()))


def test_lintian(trees):
    """No finding of any kind; what debian/*.lintian-overrides lets pass is said there with its reason."""
    (changes,) = (trees[0] / "build/deb").glob("*.changes")
    command = ["lintian", "--allow-root", "--pedantic", "--display-info", "--fail-on", "error,warning,info,pedantic", changes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_used_and_removed(system, package):
    before = system.files()
    shutil.copy(package, system.root / "tmp/reqscope.deb")
    shutil.copy(USE, system.root / "tmp/package_use.py")
    system.run("apt-get", "install", "--no-install-recommends", "-y", "/tmp/reqscope.deb")
    brought = system.files() - before
    packages = system.run("dpkg-query", "-W", "-f", "${Package} ${Status}\n").splitlines()
    assert "reqscope install ok installed" in packages

    for user in ("root", "somebody"):
        seen = json.loads(system.run("su", "-", user, "-c", "python3 /tmp/package_use.py").splitlines()[-1])
        print(user, seen)
        for trace in seen["seen"].values():
            assert (trace["requests"], trace["routes"]) == (seen["sent"], ["/users/{}"])
            assert trace["alloc_bytes"] > 10000
    for page in ("reqscope", "reqscope-run", "reqscope-compare", "reqscope-trace"):
        assert system.run("man", "-w", page).strip().endswith(".gz")
    assert "what each request" in system.run("man", "reqscope")
    for path in ("bash-completion/completions/reqscope", "zsh/vendor-completions/_reqscope", "fish/vendor_completions.d/reqscope.fish"):
        assert f"/usr/share/{path}" in brought
    assert "reqscope" in system.run("bash", "-c", "source /usr/share/bash-completion/completions/reqscope; complete -p reqscope")
    doctor = json.loads(system.run("reqscope", "doctor", "--json", "python3", status=0))
    print("doctor:", [finding["text"] for finding in doctor["findings"] if finding["level"] != "ok"])

    system.run("apt-get", "purge", "-y", "reqscope")
    system.run("apt-get", "autoremove", "--purge", "-y")
    after = system.files()
    print(f"{len(brought)} files and folders came, with its dependencies; left behind: {sorted(after - before)}, missing: {sorted(before - after)}")
    assert after == before
