"""Lets atheris look for bytes for which tests/sms/any_bytes.py does not hold: a crash, a hang, memory without bound.

    python tools/fuzz_pdu.py [SECONDS]

It starts from tests/sms/corpus: `reached.hex`, one input a line, that between them reach all the code that was reached
so far. New inputs go to the cache directory of the user, where the next run finds them. An input that fails is written
to tests/sms/corpus as `found-…`, and so is a test from then on (tests/sms/test_corpus.py).
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

ROOT = Path(__file__).resolve().parent.parent
SLOWEST_SECONDS = 5
MOST_MEMORY_MB = 512
LONGEST = 8192


def cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = base / "huiyin" / "fuzz-pdu"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    sys.path.insert(0, str(ROOT))
    with atheris.instrument_imports(include=["sms", "tests.sms.any_bytes"]):
        from tests.sms.any_bytes import check
    from tests.sms.test_corpus import CORPUS, inputs

    directory = cache()
    for data in inputs():
        (directory / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-timeout={SLOWEST_SECONDS}",
            f"-rss_limit_mb={MOST_MEMORY_MB}",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={CORPUS}/found-",
            "-print_final_stats=1",
            str(directory),
        ],
        check,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
