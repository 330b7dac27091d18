"""The centre's word on an evaluation, later than its answer to the push: adopted or not, and how the follow-up goes.

What the centre did not adopt (不予采纳) leaves the figures; its level stays in the record, as it was given. The last
word counts. The same word again changes nothing and leaves no trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, NamedTuple

from sqlalchemy import bindparam, select, update

from intake.counted import EVALUATED, note_evaluation
from models.door import Bulk, Priority, Unit
from models.ids import new_id
from models.tables import audit, evaluations, feed
from models.terms import Adoption, AuditAction, FeedKind, FollowUp

__all__ = ["CentreWord", "Heard", "Standing", "StoreCentreWord"]

_FEED = Bulk(feed, ("kind", "subject_id", "assess_number", "at"))
_AUDIT = Bulk(audit)
_SUBJECTS = select(evaluations.c.id, evaluations.c.subject_id, evaluations.c.assess_number).where(
    evaluations.c.id.in_(bindparam("ids", expanding=True))
)
_FIND = select(
    *EVALUATED, evaluations.c.follow_up, evaluations.c.centre_note, evaluations.c.centre_word_at
).with_for_update()


@dataclass(frozen=True, slots=True)
class CentreWord:
    """None: nothing is said of it, and what was said before stays."""

    adoption: Adoption | None = None
    follow_up: FollowUp | None = None
    note: str | None = None


class Heard(StrEnum):
    NEW = "new"
    KNOWN = "known"


class Standing(NamedTuple):
    """What is known of an evaluation after a word on it."""

    heard: Heard
    adoption: str | None
    follow_up: str | None
    note: str | None
    at: datetime | None


class _Change(NamedTuple):
    """What `note_evaluation` needs of a row that is about to change."""

    subject_kind: str
    satisfaction: int
    origin: str
    channel: str
    reasons: str | None
    assess_time: datetime
    agent: str | None
    queue: str | None
    dept_code: str | None
    area_code: str | None
    asked: bool | None
    adoption: str | None


@dataclass(frozen=True, slots=True)
class StoreCentreWord:
    """The centre has spoken. Result: what is known from here on; None: there is no such evaluation."""

    evaluation_id: str
    word: CentreWord
    actor: str
    now: datetime
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[StoreCentreWord]) -> list[Standing | None]:
        # Locked by subject, as everywhere, so that two writers never wait for each other in turn.
        named = {command.evaluation_id for command in commands}
        of = {row.id: (row.subject_id, row.assess_number) for row in unit.execute(_SUBJECTS, {"ids": sorted(named)})}
        places = sorted(range(len(commands)), key=lambda place: of.get(commands[place].evaluation_id, ("", 0)))
        results: dict[int, Standing | None] = {place: commands[place]._store(unit) for place in places}
        return [results[place] for place in range(len(commands))]

    def _store(self, unit: Unit) -> Standing | None:
        row = unit.execute(_FIND.where(evaluations.c.id == self.evaluation_id)).first()
        if row is None:
            return None
        word = self.word
        adoption = word.adoption.value if word.adoption is not None else row.adoption
        follow_up = word.follow_up.value if word.follow_up is not None else row.follow_up
        note = word.note if word.note is not None else row.centre_note
        if (adoption, follow_up, note) == (row.adoption, row.follow_up, row.centre_note):
            return Standing(Heard.KNOWN, adoption, follow_up, note, row.centre_word_at)
        unit.execute(
            update(evaluations)
            .where(evaluations.c.subject_id == row.subject_id, evaluations.c.assess_number == row.assess_number)
            .values(adoption=adoption, follow_up=follow_up, centre_note=note, centre_word_at=self.now)
        )
        if row.effective and adoption != row.adoption:
            before = _Change(**{name: getattr(row, name) for name in _Change._fields})
            note_evaluation(unit, -1, before)
            note_evaluation(unit, 1, before._replace(adoption=adoption))
        unit.insert(_FEED, [(FeedKind.AGAIN.value, row.subject_id, row.assess_number, self.now)])
        said = " ".join(filter(None, (adoption and f"adoption {adoption}", follow_up and f"follow-up {follow_up}")))
        unit.insert(
            _AUDIT, [(new_id(), self.now, self.actor, AuditAction.CENTRE_WORD.value, row.subject_id, said or None)]
        )
        return Standing(Heard.NEW, adoption, follow_up, note, self.now)
