"""What tests of the SMS channel share: the SMSC that is not ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.sms.node.peer import NodeSmsc, node_missing, running


@pytest.fixture
def make_node_smsc() -> Iterator[Callable[..., NodeSmsc]]:
    """Starts npm's SMSC, with the options of smsc.js; several at once if need be. Stopped at the end."""
    missing = node_missing()
    if missing:
        pytest.skip(missing)
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(running(**options))


@pytest.fixture
def node_smsc(make_node_smsc: Callable[..., Any]) -> NodeSmsc:
    """npm's SMSC that takes any password and sends receipts as text."""
    started: NodeSmsc = make_node_smsc()
    return started
