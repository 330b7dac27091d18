"""The table of servers that the comparison measures: what each is, how it is started, what it must reach.

A contender whose program is not to be had here is left out, with the reason in one line of the report.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from benchmarks.process import READY, Cores, Server

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huiyin" / "bench"
"""Where tools/bench-programs.sh puts what is not the product's own."""

NODE_MODULES = CACHE / "node" / "node_modules"
NODE_SMPP = CACHE / "node-smpp" / "node_modules"
PYTHON_PACKAGES = CACHE / "python"


@dataclass(frozen=True, slots=True)
class Contender:
    """One server of the comparison."""

    key: str
    title: str
    argv: tuple[str, ...]
    script: str = "fixed"
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Files of its folder, which `{folder}` in `argv` names."""
    ready: str = READY
    """What it says once it accepts calls, its port the first group."""
    limit: float | None = None
    """The ratio to the baseline that this project wants it to stay under; none for the others' servers."""
    not_above_ding_dong: bool = False
    """Whether it must not use more than ding-dong either, where that was measured."""
    missing: Callable[[], str] = lambda: ""
    """Empty when it can run here, else why not and what to do."""

    def server(self, cores: Cores) -> Server:
        """Its process, to be entered."""
        return Server(self.argv, cores.server, self.env, files=self.files, ready=self.ready)


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _missing_pystrix() -> str:
    return "" if (PYTHON_PACKAGES / "pystrix").is_dir() else "pystrix: not installed (tools/bench-programs.sh)"


def _missing_ding_dong() -> str:
    if shutil.which("node") is None:
        return "ding-dong: node is missing (Debian: apt-get install nodejs npm)"
    return "" if (NODE_MODULES / "ding-dong").is_dir() else "ding-dong: not installed (tools/bench-programs.sh)"


BASELINE = "pyst2"

SERVE = (
    sys.executable,
    "-c",
    "from server.cli import main; main()",
    "serve",
    "-c",
    "{folder}/huiyin.toml",
    "--only",
    "ivr",
)
SERVE_CONFIGURATION = """\
[database]
url = "sqlite:///bench.db"
[ivr]
listen = "127.0.0.1:0"
max_calls = 6000
[health]
listen = "127.0.0.1:0"
[privacy]
key_file = "privacy.key"
"""

CONTENDERS: tuple[Contender, ...] = (
    Contender(BASELINE, "pyst2 in Twisted threads", _python("benchmarks.servers.pyst2_threads", "socket")),
    Contender(
        "pyst2-reactor",
        "pyst2 in Twisted threads, wire in the reactor",
        _python("benchmarks.servers.pyst2_threads", "reactor"),
    ),
    Contender(
        "pystrix",
        "pystrix, a thread a call",
        _python("benchmarks.servers.pystrix_server"),
        env={"PYTHONPATH": str(PYTHON_PACKAGES)},
        missing=_missing_pystrix,
    ),
    Contender(
        "ding-dong",
        "ding-dong on Node",
        ("node", "benchmarks/ding-dong/server.js"),
        env={"NODE_PATH": str(NODE_MODULES)},
        missing=_missing_ding_dong,
    ),
    Contender(
        "path",
        "Huiyin, AGI path alone",
        _python("benchmarks.servers.huiyin_agi", "path"),
        limit=0.40,
        not_above_ding_dong=True,
    ),
    Contender(
        "record",
        "Huiyin, full record committed",
        _python("benchmarks.servers.huiyin_agi", "record"),
        limit=0.70,
    ),
    Contender(
        "rating",
        "Huiyin, the real dialogue with its reason",
        SERVE,
        script="rating",
        files={"huiyin.toml": SERVE_CONFIGURATION},
        ready=r"\(ivr\.listen\) on 127\.0\.0\.1:(\d+)",
        limit=0.90,
    ),
)

WAITING: tuple[str, ...] = ("path", "record", "rating")
"""Contenders that are also measured with thousands of calls at once."""
PROFILED: tuple[str, ...] = ("record", "rating")
"""Contenders of which a profile is taken."""


def versions() -> dict[str, str]:
    """What was measured, by name and version, and on what."""
    import sqlite3

    found = {
        "Python": sys.version.split()[0],
        **{
            name: metadata.version(name)
            for name in ("twisted", "pyst2", "sqlalchemy", "phonenumbers", "cryptography", "aiosmpplib")
        },
        "SQLite": sqlite3.sqlite_version,
    }
    for name in ("pystrix", "smpplib"):
        for info in metadata.distributions(path=[str(PYTHON_PACKAGES)], name=name):
            found[name] = info.version
    on_node = {"ding-dong": NODE_MODULES / "ding-dong", "smpp (Node)": NODE_SMPP / "smpp"}
    there = {name: folder / "package.json" for name, folder in on_node.items() if (folder / "package.json").is_file()}
    for name, file in there.items():
        found[name] = str(json.loads(file.read_text())["version"])
    if there and shutil.which("node") is not None:
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
        found["Node"] = node.stdout.strip().removeprefix("v")
    return found


def machine() -> str:
    """The machine in one line: processor, cores, kernel; no name of a host."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = " ".join(line.split(":", 1)[1].split())
            break
    kernel = os.uname()
    return f"{model}, {os.cpu_count()} cores, {kernel.sysname} {kernel.release.split('-')[0]}"
