"""The one error of the configuration: everything that is wrong with it, at once."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ConfigurationError"]


class ConfigurationError(Exception):
    """The configuration cannot be used.

    Args:
        errors: each error's dotted key (`ivr.tries`, `sms.links[0].password`; empty: the whole file) and a plain
            sentence that says what is wrong and what to write. No secret stands in either.
    """

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line an error."""
        return [f"{key}: {sentence}" if key else sentence for key, sentence in self.errors]
