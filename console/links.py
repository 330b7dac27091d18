"""One click to what other systems hold: the recording of a call, the work order of a case.

Rules kept here: the address is the configuration's (`config.settings.LINK_FIELDS`), what stands in a record is encoded
and can change neither host nor path's form; where a field is not known there is no link, rather than one that leads
nowhere.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from urllib.parse import quote

__all__ = ["link"]


def link(template: str, fields: Mapping[str, str | None]) -> str | None:
    """The address; None: no template, or a field of it is not known."""
    if not template:
        return None
    wanted = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    values = {name: fields.get(name) for name in wanted}
    if not all(values.values()):
        return None
    return template.format_map({name: quote(value or "", safe="") for name, value in values.items()})
