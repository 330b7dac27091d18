"""A caller made of one blocking socket: Asterisk's side of FastAGI, written apart from the product's own codec.

It knows when it pressed its key and whether it heard thanks; between the two its rating is in flight.
"""

from __future__ import annotations

import itertools
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

__all__ = ["Calls", "Heard", "call"]

_VARIABLE = re.compile(r'SET VARIABLE "?(\w+)"? "?(.*?)"?$')
_QUESTION = re.compile(r'EXEC Background "?([^",]*)')
_STREAM = re.compile(r'STREAM FILE "?([^" ]+)')


@dataclass
class Heard:
    """What one caller lived through. `pressed_at`, `thanked_at`: monotonic seconds."""

    call: str
    number: str
    keys: list[str]
    prompts: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    pressed_at: float | None = None
    thanked_at: float | None = None
    finished: bool = False

    @property
    def thanked(self) -> bool:
        return self.thanked_at is not None

    @property
    def in_flight(self) -> bool:
        """The key is pressed and nothing is heard yet."""
        return self.pressed_at is not None and not self.finished and self.thanked_at is None


def call(port: int, heard: Heard, *, path: str = "rate", parameters: str = "", timeout: float = 20) -> Heard:
    """Calls, presses the keys one question after the other (none left: silence), until the server is done or gone."""
    keys = iter(heard.keys)
    url = f"agi://127.0.0.1:{port}/{path}?call={quote(heard.call)}&agent=PJSIP%2F2001&queue=support{parameters}"
    head = {
        "agi_network": "yes",
        "agi_network_script": url.split("/", 3)[3],
        "agi_request": url,
        "agi_channel": f"PJSIP/caller-{heard.call}",
        "agi_language": "zh",
        "agi_type": "PJSIP",
        "agi_uniqueid": heard.call,
        "agi_version": "22.10.1",
        "agi_callerid": heard.number,
        "agi_calleridname": "caller",
    }
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as wire:
            wire.sendall("".join(f"{name}: {value}\n" for name, value in head.items()).encode() + b"\n")
            for raw in wire.makefile("rb"):
                line = raw.decode().rstrip("\n")
                reply = "200 result=0"
                if match := _VARIABLE.match(line):
                    heard.variables[match[1]] = match[2]
                    reply = "200 result=1"
                elif match := _QUESTION.match(line):
                    heard.prompts += match[1].split("&")
                    key = next(keys, "")
                    if key:  # pressed while the prompt plays; silence lasts through the wait that follows
                        reply = f"200 result={ord(key)}"
                        heard.pressed_at = heard.pressed_at or time.monotonic()
                elif line.startswith("GET VARIABLE"):
                    reply = "200 result=1 (SUCCESS)"
                elif match := _STREAM.match(line):
                    heard.prompts.append(match[1])
                    if match[1].endswith("/thanks"):
                        heard.thanked_at = time.monotonic()
                    reply = "200 result=0 endpos=8000"
                elif line.startswith("HANGUP"):
                    reply = "200 result=1"
                wire.sendall(reply.encode() + b"\n")
    except OSError:
        return heard
    heard.finished = "HUIYIN_OUTCOME" in heard.variables
    return heard


class Calls:
    """Callers on several lines at once, one call after the other on each, until told to stop or nobody answers."""

    def __init__(self, port: int, lines: int, keys: tuple[tuple[str, ...], ...], prefix: str) -> None:
        self.heard: list[Heard] = []
        self._port = port
        self._keys = keys
        self._prefix = prefix
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._line, daemon=True) for _ in range(lines)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Heard]:
        """No new calls; waits for those that run. Returns everything heard."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        return self.heard

    def wait_until_thanked(self, count: int, seconds: float = 60) -> None:
        """Until so many callers have heard thanks."""
        deadline = time.monotonic() + seconds
        while self.thanked() < count:
            assert time.monotonic() < deadline, f"{self.thanked()} callers were thanked in {seconds:g} s"
            time.sleep(0.005)

    def at_random_moment(self, after: float, act: Callable[[], None]) -> bool:
        """Acts after so many seconds, at once whatever happens then; whether a rating was in flight just before."""
        time.sleep(after)  # the moment is meant to be any
        with self._lock:
            in_flight = any(heard.in_flight for heard in self.heard)
        act()
        return in_flight

    def thanked(self) -> int:
        with self._lock:
            return sum(heard.thanked for heard in self.heard)

    def _line(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                number = next(self._numbers)
                keys = self._keys[number % len(self._keys)]
                heard = Heard(f"{self._prefix}-{number}", f"138{number:08}", list(keys))
                self.heard.append(heard)
            call(self._port, heard)
            if not heard.prompts:  # nobody answers any more
                return
