"""The fuzz targets' seeds and past findings, as a regression test: no libFuzzer, but its sanitizers."""

import subprocess
import sys

import pytest
from reqscope_cli import ROOT

FUZZ = ROOT / "tests/fuzz"


@pytest.fixture(scope="session")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    subprocess.run([sys.executable, FUZZ / "make_corpus.py", folder], check=True)
    return folder


@pytest.mark.parametrize("name", ["columns", "connection", "export", "http1", "merge", "region", "trace"])
def test_corpus(name, seeds, tmp_path):
    sources = subprocess.run([FUZZ / "sources.sh", name], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = ["gcc", "-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
               "-D_GNU_SOURCE", '-DRQS_VERSION="fuzz"', "-Iinclude", "-Iagent", "-Ianalyzer", "-o", tmp_path / name, FUZZ / "driver.c",
               FUZZ / f"fuzz_{name}.c", *sources.split(), "-lzstd", "-lcjson", "-lm"]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True)
    folders = [f for f in (seeds / name, FUZZ / "corpus" / name) if f.is_dir()]
    done = subprocess.run([tmp_path / name, *folders], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
