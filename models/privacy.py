"""What may be kept and seen of a telephone number.

A number is stored three ways and never in clear:

* sealed: AES-256-GCM under a key with an id, so that it can be dialled or shown to who may see it;
* hash: a keyed hash (BLAKE2b) of the whole number, by which the same citizen is found again;
* tail: a second keyed hash of the last four digits, for the supervisors' filter. With 10,000 values it leaks those
  digits to whoever holds the key, on purpose (docs/adr/0005-last-four-digits.md).

The keys stand in one file of mode 0600, outside the database; each has three parts, by HKDF-SHA256. The newest is
used; the one before it stays until the next rotation, for a row that a process without a lock sealed meanwhile.

A hash can outlive its number: an opt-out whose citizen was forgotten is a hash alone, and no new key can make another
of it (docs/adr/0026-keeping-and-forgetting.md). The key that made it stays in the file, and the citizen's number keeps
that hash wherever it is stored again (`keeping`).
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
import stat
import tomllib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models.errors import KeyUnreadable

__all__ = ["Keyring", "SealedNumber", "mask"]

_NONCE = 12
_HASH = 16
_TAIL = 8
_LABEL = b"huiyin number v1"
_DIGEST = b"huiyin digest v1"


@dataclass(frozen=True, slots=True)
class SealedNumber:
    """A number as stored. `sealed`: key id (2 bytes), nonce (12), ciphertext with tag. `hash`: 16 bytes, `tail`: 8."""

    sealed: bytes
    hash: bytes
    tail: bytes
    key_id: int


class _Key:
    def __init__(self, key_id: int, secret: bytes) -> None:
        if len(secret) != 32:
            raise KeyUnreadable(f"privacy key {key_id} has {len(secret)} bytes, 32 are needed; restore the key file")
        self.id = key_id
        self.secret = secret
        material = HKDF(algorithm=SHA256(), length=96, salt=None, info=_LABEL).derive(secret)
        self.aead = AESGCM(material[:32])
        self.hash_key = material[32:64]
        self.tail_key = material[64:]
        self.prefix = key_id.to_bytes(2, "big")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell two keys apart and give nothing away."""
        return hmac.digest(self.secret, b"huiyin key fingerprint v1", "sha256").hex()[:16]


class Keyring:
    """The keys of one installation; the newest writes, all read."""

    def __init__(self, secrets_by_id: dict[int, bytes], kept: Collection[bytes] = ()) -> None:
        if not secrets_by_id:
            raise KeyUnreadable("the privacy key file holds no key; restore it from your backup")
        self._keys = {key_id: _Key(key_id, secret) for key_id, secret in secrets_by_id.items()}
        self.active_id = max(self._keys)
        self._active = self._keys[self.active_id]
        self._older = tuple(key for key in self._keys.values() if key.id != self.active_id)
        self._kept = frozenset(kept)

    # ── the file ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def generate(cls) -> Keyring:
        return cls({1: secrets.token_bytes(32)})

    @classmethod
    def load(cls, path: Path) -> Keyring:
        """Reads the key file.

        Raises:
            KeyUnreadable: missing, open to group or others, or damaged.
        """
        try:
            mode = path.stat().st_mode
            content = path.read_text("ascii")
        except FileNotFoundError:
            raise KeyUnreadable(
                f"privacy key {path} is missing; restore it from your backup "
                "(a new one cannot read the numbers already stored)"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise KeyUnreadable(f"privacy key {path} cannot be read: {error}") from error
        if stat.S_IMODE(mode) & 0o077:
            raise KeyUnreadable(f"privacy key {path} is open to others; run: chmod 600 {path}")
        try:
            keys = tomllib.loads(content)["keys"]
            return cls({int(key_id): base64.b64decode(value, validate=True) for key_id, value in keys.items()})
        except (tomllib.TOMLDecodeError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise KeyUnreadable(f"privacy key {path} is damaged; restore it from your backup") from error

    def save(self, path: Path, *, new: bool = False) -> None:
        """Writes the file whole or not at all, mode 0600, on disk when this returns.

        Args:
            new: a file that is there already, made by another process a moment ago, stays as it is.
        """
        lines = [
            "# Huiyin privacy keys. Keep a copy apart from the database's backup; without it no number can be read.",
            "[keys]",
        ]
        lines += [f'{key.id} = "{base64.b64encode(key.secret).decode()}"' for key in self._keys.values()]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if new:
            with suppress(FileExistsError):
                os.link(temporary, path)
            temporary.unlink()
        else:
            temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    # ── rotation ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def with_new_key(self) -> Keyring:
        """The same keys and a newer one, which is active from now on."""
        return Keyring({**self._secrets(), self.active_id + 1: secrets.token_bytes(32)}, self._kept)

    def without_older(self, key_id: int) -> Keyring:
        """The same keys without those before `key_id`."""
        newer = {known: secret for known, secret in self._secrets().items() if known >= key_id}
        return Keyring(newer, self._kept)

    def keeping(self, hashes: Collection[bytes]) -> Keyring:
        """The same keys; a number that has one of these hashes by an older key has it by this keyring, too."""
        return Keyring(self._secrets(), hashes)

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(sorted(self._keys))

    def _secrets(self) -> dict[int, bytes]:
        return {key.id: key.secret for key in self._keys.values()}

    @property
    def fingerprint(self) -> str:
        return self._active.fingerprint

    @property
    def fingerprints(self) -> frozenset[str]:
        return frozenset(key.fingerprint for key in self._keys.values())

    # ── numbers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def seal(self, number: str) -> SealedNumber:
        """Encrypts and hashes a number in its normalised form (E.164, or the digits as dialled)."""
        key = self._active
        raw = number.encode()
        nonce = os.urandom(_NONCE)
        return SealedNumber(
            sealed=key.prefix + nonce + key.aead.encrypt(nonce, raw, _LABEL),
            hash=self.hash(number),
            tail=self.tail(number),
            key_id=key.id,
        )

    def hash(self, number: str) -> bytes:
        """The keyed hash by which stored rows of this number are found."""
        if self._kept:
            for key in self._older:
                if (older := _hash(number, key)) in self._kept:
                    return older
        return _hash(number, self._active)

    def hashes(self, number: str) -> tuple[bytes, ...]:
        """Every hash under which a row of this number may stand: one for each key of the file."""
        return tuple(_hash(number, key) for key in self._keys.values())

    def tail(self, number: str) -> bytes:
        """The keyed hash of the last four digits."""
        return blake2b(number[-4:].encode(), key=self._active.tail_key, digest_size=_TAIL).digest()

    def digest(self, raw: bytes) -> bytes:
        """A keyed hash (16 bytes) of something that holds a number or a text, by which the same is known again.

        Not comparable with `hash`; a new key makes others.
        """
        return blake2b(raw, key=self._active.hash_key, digest_size=_HASH, person=_DIGEST).digest()

    def open(self, sealed: bytes) -> str:
        """The number in clear. Whoever calls this has asked why and written it to the audit.

        Raises:
            KeyUnreadable: sealed with a key that is not in the file, or damaged.
        """
        key = self._keys.get(int.from_bytes(sealed[:2], "big"))
        if key is None:
            raise KeyUnreadable("this number was sealed with a key that is not in the key file; restore the older key")
        try:
            clear = key.aead.decrypt(sealed[2 : 2 + _NONCE], sealed[2 + _NONCE :], _LABEL)
        except InvalidTag:
            raise KeyUnreadable("a stored number is damaged or was sealed with another key of the same id") from None
        return clear.decode()


def _hash(number: str, key: _Key) -> bytes:
    return blake2b(number.encode(), key=key.hash_key, digest_size=_HASH).digest()


def mask(number: str) -> str:
    """A number as a screen may show it: `138****0001`; short numbers lose all but the last two digits."""
    national = number.removeprefix("+86")
    if len(national) >= 11:
        return f"{national[:3]}{'*' * (len(national) - 7)}{national[-4:]}"
    return "*" * max(len(national) - 2, 0) + national[-2:]
