"""A real Asterisk for a test: its configuration, start, commands and stop.

Rules it keeps: everything is bound to 127.0.0.1 on ports that were free; the whole configuration, spool and log lie
in a directory of the test; `dialplans/` is taken in exactly as docs/asterisk.md tells an administrator to (copied to
`huiyin/` beside extensions.conf and included); started is known from Asterisk itself (`core waitfullybooted`), never
from a pause; stopped means that the process is gone.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIALPLANS = ROOT / "dialplans"
SOUNDS = DIALPLANS / "prompts" / "huiyin"
FETCH = ROOT / "tools" / "asterisk-fetch.sh"
MODULES = ROOT / "tools" / "asterisk-modules.txt"

START_SECONDS = 30.0
STOP_SECONDS = 20.0


class AsteriskMissing(Exception):
    """No Asterisk can be had here; the sentence says what is missing."""


class AsteriskFailed(Exception):
    """Asterisk did not start, answer or stop; the sentence carries the end of its log."""


def find_asterisk() -> Path:
    """The program to run: one on PATH, the cached tree, or a newly fetched tree (up to two minutes, root only).

    Raises AsteriskMissing with the script's own sentence.
    """
    done = subprocess.run([str(FETCH)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AsteriskMissing(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"{FETCH} failed")
    return Path(done.stdout.strip())


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A loopback port that was free a moment ago, for TCP (default) or UDP (`socket.SOCK_DGRAM`)."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(what: str, ready: Callable[[], bool], seconds: float, every: float = 0.02) -> None:
    """Poll `ready` until it is true; TimeoutError names `what` when `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(every)


def wanted_modules() -> list[str]:
    """The modules of tools/asterisk-modules.txt, in their order."""
    lines = (line.split("#")[0].strip() for line in MODULES.read_text().splitlines())
    return [line for line in lines if line]


@dataclass(frozen=True)
class Installed:
    """Where an Asterisk's parts lie: a cached tree of ours, or a system's own installation."""

    program: Path
    modules: Path
    documentation: Path

    @classmethod
    def of(cls, program: Path) -> Installed:
        """The parts that belong to `program`; AsteriskMissing where its modules can't be found."""
        tree = program.resolve().parent
        if (tree / "modules").is_dir():
            return cls(program, tree / "modules", tree / "share" / "documentation")
        elsewhere = (Path("/usr/lib/asterisk/modules"), Path("/usr/lib64/asterisk/modules"))
        for place in (*sorted(Path("/usr/lib").glob("*/asterisk/modules")), *elsewhere):
            if (place / "res_agi.so").exists():
                for share in (Path("/usr/share/asterisk"), Path("/var/lib/asterisk")):
                    if (share / "documentation").is_dir():
                        return cls(program, place, share / "documentation")
        raise AsteriskMissing(f"{program} is there, but not its modules and documentation")


@dataclass(frozen=True)
class Setup:
    """What a test may choose about an Asterisk.

    `agi` is HOST:PORT of the FastAGI server (it need not run); `extensions` is dialplan text for the test's own
    entries and stand-in agents; `sounds` is laid out as `<sounds>/huiyin/…`; `site` are further lines of globals.
    """

    agi: str
    extensions: str
    sounds: Path = SOUNDS.parent
    site: str = ""
    queues: str = ""
    language: str = "zh"
    phones: tuple[str, ...] = ("1001", "1002", "trunk")


@dataclass
class Asterisk:
    """One running Asterisk. Use `running()`; the ports are where it listens on 127.0.0.1."""

    home: Path
    installed: Installed
    setup: Setup
    sip_port: int = field(default_factory=lambda: free_port(socket.SOCK_DGRAM))
    ami_port: int = field(default_factory=free_port)
    phone_ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    # -- configuration -------------------------------------------------------------------------------------------

    def write_configuration(self) -> None:
        """Write everything Asterisk reads, as an administrator has it after docs/asterisk.md."""
        for name in self.setup.phones:
            self.phone_ports.setdefault(name, free_port(socket.SOCK_DGRAM))
        etc = self.home / "etc"
        etc.mkdir(parents=True)
        for name in ("run", "log", "spool", "db", "data", "keys"):
            (self.home / name).mkdir()
        shutil.copytree(self.installed.documentation, self.home / "data" / "documentation")
        shutil.copytree(self.setup.sounds, self.home / "data" / "sounds")
        shutil.copytree(DIALPLANS, etc / "huiyin", ignore=shutil.ignore_patterns("prompts"))
        # The one line that an administrator has to change.
        site = etc / "huiyin" / "huiyin-site.conf"
        lines, changed = re.subn(
            r"^HUIYIN_AGI *=.*$", f"HUIYIN_AGI = {self.setup.agi}", site.read_text(encoding="utf-8"), flags=re.M
        )
        if changed != 1:
            raise AsteriskFailed(f"{site} has {changed} lines HUIYIN_AGI, not one")
        site.write_text(f"{lines}\n{self.setup.site}\n", encoding="utf-8")
        _write_silence(self.home / "data" / "sounds" / "pbx-transfer.wav")
        for name, text in self._files().items():
            (etc / name).write_text(text, encoding="utf-8")

    def _files(self) -> dict[str, str]:
        where = {
            "astetcdir": "etc",
            "astvarlibdir": "data",
            "astdatadir": "data",
            "astagidir": "data",
            "astdbdir": "db",
            "astkeydir": "keys",
            "astspooldir": "spool",
            "astrundir": "run",
            "astlogdir": "log",
        }
        directories = "\n".join(f"{key} => {self.home / value}" for key, value in where.items())
        phones = "\n".join(_PHONE.format(name=name, port=port) for name, port in self.phone_ports.items())
        return {
            "asterisk.conf": f"[directories]\nastmoddir => {self.installed.modules}\n{directories}\n"
            "[options]\nverbose = 3\nnocolor = yes\ntransmit_silence = yes\ndocumentation_language = en_US\n"
            # In words, not by #include: that one is looked for in /etc/asterisk before astetcdir is known.
            f"defaultlanguage = {self.setup.language}\n{(DIALPLANS / 'samples' / 'asterisk.conf').read_text()}",
            "modules.conf": "[modules]\nautoload = no\n"
            + "".join(f"load = {module}.so\n" for module in wanted_modules()),
            "logger.conf": "[general]\ndateformat = %F %T.%3q\n"
            "#include huiyin/samples/logger.conf\n"
            "[logfiles]\nfull => notice,warning,error,verbose,dtmf\nwarnings => warning,error\n",
            "manager.conf": "[general]\nenabled = yes\nwebenabled = no\nbindaddr = 127.0.0.1\n"
            f"port = {self.ami_port}\n#include huiyin/samples/manager.conf\n",
            "rtp.conf": "[general]\nrtpstart = 20000\nrtpend = 29999\nicesupport = no\nstrictrtp = no\n",
            "pjsip.conf": _PJSIP.format(sip=self.sip_port) + phones,
            "queues.conf": "[general]\npersistentmembers = no\n#include huiyin/samples/queues.conf\n"
            + self.setup.queues,
            "features.conf": "[general]\n#include huiyin/samples/features.conf\n",
            "musiconhold.conf": "[general]\n",
            "indications.conf": _INDICATIONS,
            "extensions.conf": "[general]\nstatic = yes\nwriteprotect = yes\nclearglobalvars = no\n\n"
            "[globals]\n#include huiyin/huiyin-site.conf\n\n#include huiyin/huiyin.conf\n"
            f"#include huiyin/samples/extensions.conf\n\n{self.setup.extensions}\n",
            **{f"{name}.conf": "" for name in _EMPTY},
        }

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and return when it says it is fully booted. Raises AsteriskFailed."""
        console = (self.home / "console.log").open("wb")
        with console:
            self.process = subprocess.Popen(
                [str(self.installed.program), "-C", str(self.home / "etc" / "asterisk.conf"), "-f", "-n"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until("Asterisk's control socket", self._control_socket, START_SECONDS)
            wait_until("Asterisk fully booted", lambda: "fully booted" in self._booted(), START_SECONDS)
        except TimeoutError as error:
            self.stop()
            raise AsteriskFailed(f"{error}\n{self._end_of_console()}") from None

    def _control_socket(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise AsteriskFailed(f"Asterisk ended at its start\n{self._end_of_console()}")
        return (self.home / "run" / "asterisk.ctl").exists()

    def _booted(self) -> str:
        # The socket may be there a moment before it listens.
        with contextlib.suppress(AsteriskFailed):
            return self.cli("core waitfullybooted")
        return ""

    def _end_of_console(self) -> str:
        log = self.home / "console.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def cli(self, command: str) -> str:
        """What the command prints. Raises AsteriskFailed when Asterisk can't be asked."""
        done = subprocess.run(
            [str(self.installed.program), "-C", str(self.home / "etc" / "asterisk.conf"), "-rx", command],
            capture_output=True,
            check=False,
            timeout=START_SECONDS,
        )
        if done.returncode != 0:
            raise AsteriskFailed(f"asterisk -rx '{command}': {done.stdout!r} {done.stderr!r}")
        return done.stdout.decode("utf-8", "replace")

    def active_channels(self) -> int:
        """How many channels there are now."""
        found = re.search(r"^(\d+) active channel", self.cli("core show channels count"), re.M)
        if found is None:
            raise AsteriskFailed("core show channels count gave no count")
        return int(found[1])

    def wait_idle(self, seconds: float = 30.0) -> None:
        """Return when no channel is left, hangup handlers included: the call is over."""
        wait_until("no active channel", lambda: self.active_channels() == 0, seconds, every=0.05)

    def log(self) -> str:
        """The full log so far."""
        return (self.home / "log" / "full").read_text(encoding="utf-8", errors="replace")

    def warnings(self) -> list[str]:
        """Warnings and errors so far."""
        return (self.home / "log" / "warnings").read_text(encoding="utf-8", errors="replace").splitlines()

    def stop(self) -> None:
        """`core stop now`, then wait for the process; a process that will not go is killed and that is an error."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(AsteriskFailed, subprocess.TimeoutExpired):
            self.cli("core stop now")
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AsteriskFailed(f"Asterisk did not stop\n{self._end_of_console()}") from None


@contextlib.contextmanager
def running(home: Path, setup: Setup) -> Iterator[Asterisk]:
    """An Asterisk with `setup`, its files under `home` (made here), stopped at the end."""
    asterisk = Asterisk(home, Installed.of(find_asterisk()), setup)
    asterisk.write_configuration()
    try:
        asterisk.start()
        yield asterisk
    finally:
        asterisk.stop()


def _write_silence(path: Path) -> None:
    """A tenth of a second: the prompt of a transfer by keys, which Asterisk's own sound package brings."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))


_EMPTY = ("cdr", "cel", "ccss", "udptl", "acl", "stasis", "pjproject", "codecs", "dsp")

_PJSIP = """\
[system]
type = system
[global]
type = global
endpoint_identifier_order = username,ip
[udp]
type = transport
protocol = udp
bind = 127.0.0.1:{sip}
; every caller, whatever number it shows
[caller]
type = endpoint
transport = udp
context = from-callers
disallow = all
allow = ulaw
dtmf_mode = auto
direct_media = no
rtp_symmetric = yes
send_connected_line = no
aors = caller
[caller]
type = identify
endpoint = caller
match = 127.0.0.1
[caller]
type = aor
"""

_PHONE = """\
[{name}]
type = endpoint
transport = udp
context = from-agents
disallow = all
allow = ulaw
dtmf_mode = auto
direct_media = no
rtp_symmetric = yes
send_connected_line = no
aors = {name}
[{name}]
type = aor
contact = sip:{name}@127.0.0.1:{port}
"""

_INDICATIONS = """\
[general]
country = cn
[cn]
description = China
ringcadence = 1000,4000
dial = 450
busy = 450/350,0/350
ring = 450/1000,0/4000
congestion = 450/700,0/700
"""
