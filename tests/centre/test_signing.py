"""The signature, against values worked out without this code (printf … | openssl dgst -sha256 -hmac …)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from centre.signing import headers, is_signed, sign

KNOWN = [
    pytest.param(
        "secret", 1700000000, b'{"a":1}', "49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686", id="ASCII"
    ),
    pytest.param(
        "钥匙",
        1700000000,
        "满意".encode(),
        "3e09c42296d76c5ea30226562b666be8604e3d68b9d738693d465ddd615fc9ad",
        id="Chinese",
    ),
    pytest.param("secret", 0, b"", "3445798a051818ef95def46c2eb62b43d377ce6e3c29b4d0aec3da0e59577f79", id="empty body"),
]


@pytest.mark.parametrize(("secret", "timestamp", "body", "signature"), KNOWN)
def test_known_signatures(secret: str, timestamp: int, body: bytes, signature: str) -> None:
    assert sign(secret, timestamp, body) == signature


def test_a_retry_has_the_same_key_and_another_signature() -> None:
    first, second = headers("s", 1, b"{}", "k"), headers("s", 2, b"{}", "k")
    assert first["Idempotency-Key"] == second["Idempotency-Key"] == "k"
    assert first["X-Huiyin-Signature"] != second["X-Huiyin-Signature"]
    assert "Idempotency-Key" not in headers("s", 1, b"", None)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**40), st.binary(), st.binary())
def test_only_the_same_bytes_are_signed(secret: str, timestamp: int, body: bytes, other: bytes) -> None:
    signature = sign(secret, timestamp, body)
    assert is_signed(secret, str(timestamp), body, signature)
    assert is_signed(secret, str(timestamp), other, signature) == (other == body)
    assert not is_signed(secret, str(timestamp + 1), body, signature)
