"""What one group of commands about cases knows, and what it is going to store.

`CaseBook` loads the cases of the group, their invitations, and the batches and themes they name; it is kept up to date
while the commands are decided one after the other (two of one group may be about one case, or one batch), and stores
everything at the end, table by table. Rows that may be changed are locked as they are read (PostgreSQL), in the order
of their ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, func, or_, select, update

from intake.asking import OptOut, is_open
from intake.deadlines import DeadlineRules, Due
from intake.endings import Ending, end_invitations
from intake.members import count_members
from intake.names import project_no
from intake.numbers import NumberKind
from intake.posted import CaseContent
from intake.record import UNSENT_AFTER
from intake.reminders import REMIND
from intake.restated import Copied, evaluations_follow, invitations_follow
from models.door import Bulk, Many, Unit
from models.privacy import SealedNumber
from models.rollups import Whose
from models.tables import (
    audit,
    calls,
    case_keys,
    cases,
    codes,
    evaluations,
    feed,
    invitation_members,
    invitations,
    messages,
    opt_outs,
    outbox,
    ratings,
)
from models.terms import (
    AuditAction,
    Channel,
    DefaultReason,
    FeedKind,
    InvitationState,
    MessageKind,
    MessageState,
    Origin,
    OutboxState,
    Satisfaction,
    SubjectKind,
)

__all__ = ["CaseBook", "CaseKey", "CaseRules", "GroupPast", "KnownCase", "KnownInvitation", "NumberRow"]


@dataclass(frozen=True, slots=True)
class CaseRules:
    """What the configuration says about cases."""

    key_map: str
    area_code: str | None
    service_name: str | None
    max_age: timedelta
    group_wait: timedelta
    reason_hold: timedelta
    deadlines: DeadlineRules
    reminder_after: timedelta = timedelta(hours=24)


class CaseKey(NamedTuple):
    case_no: str
    service_number: int


class NumberRow(NamedTuple):
    """The five number columns (docs/data-model.md)."""

    kind: NumberKind
    sealed: bytes | None
    hash: bytes | None
    tail: bytes | None
    key_id: int | None

    @classmethod
    def of(cls, kind: NumberKind, sealed: SealedNumber | None) -> NumberRow:
        if sealed is None:
            return cls(kind, None, None, None, None)
        return cls(kind, sealed.sealed, sealed.hash, sealed.tail, sealed.key_id)

    def is_same(self, other: NumberRow) -> bool:
        """The same citizen: what is sealed differs each time."""
        return (self.kind, self.hash) == (other.kind, other.hash)

    @property
    def is_gone(self) -> bool:
        """There was one, and it is kept no longer (intake/forgetting.py, intake/keeping.py)."""
        return self.hash is None and self.kind is not NumberKind.ANONYMOUS

    @property
    def values(self) -> tuple[Any, ...]:
        return (self.kind.value, *self[1:])


@dataclass(slots=True)
class KnownInvitation:
    """`members`: how many there are, `open_members`: of them neither rated nor withdrawn, `defaulted`: with a default
    alone, `calls`: calls.

    `call_until`: until when an SMS about its call alone may be sent.
    """

    id: str
    kind: SubjectKind
    state: InvitationState
    reason: str | None
    number: NumberRow = field(repr=False)
    lang: str
    group_key: str | None
    due_at: datetime | None
    not_after: datetime | None
    created_at: datetime
    asked_by_sms: bool = False
    members: int = 0
    open_members: int = 0
    defaulted: int = 0
    calls: int = 0
    call_until: datetime | None = None
    new: bool = False
    changed: bool = False

    @property
    def queued(self) -> bool:
        """Its SMS is made and waits for a link."""
        return self.state is InvitationState.WAITING and self.due_at is None


@dataclass(slots=True)
class KnownCase:
    """`evaluated`: who gave its effective evaluation. `told_agent`, `told_dept`: what its call said, where one did.

    `said`: what its evaluations copy, as it was stored; None: it is new. `asked_by`: its invitations.
    """

    subject_id: str
    key: CaseKey
    stub: bool
    content: CaseContent
    number: NumberRow = field(repr=False)
    posted_by: str | None
    deadline: datetime | None
    provisional: bool
    withdrawn_at: datetime | None
    created_at: datetime
    evaluated: Origin | None = None
    invitation: KnownInvitation | None = None
    told_agent: str | None = None
    told_dept: str | None = None
    default_at: datetime | None = None
    default_reason: DefaultReason | None = None
    said: Copied | None = None
    asked_by: frozenset[str] = frozenset()
    new: bool = False
    changed: bool = False

    def fall_due(self, due: Due) -> None:
        """Its deadline, and what follows from it."""
        self.deadline, self.provisional = due.deadline, due.provisional
        self.default_at, self.default_reason = due.default_at, due.default_reason
        self.changed = True


@dataclass(frozen=True, slots=True)
class GroupRating:
    """A citizen's rating of a whole batch or theme."""

    id: str
    satisfaction: Satisfaction
    channel: str
    reasons: str | None
    comment: str | None
    rated_at: datetime


@dataclass(frozen=True, slots=True)
class GroupPast:
    """How a batch or theme ended that was asked before. `rating` None: nobody rated it."""

    invitation_id: str
    state: InvitationState
    reason: str | None
    rating: GroupRating | None


@dataclass(frozen=True, slots=True)
class _GroupPhone:
    number: NumberRow
    cases: int
    size: int | None


# ── statements ────────────────────────────────────────────────────────────────────────────────────────────────────────

_CONTENT = tuple(one.name for one in fields(CaseContent))
_NUMBER = ("number_kind", "number_sealed", "number_hash", "number_tail", "number_key_id")
_CASE_KEYS = Bulk(case_keys, ("case_no", "service_number", "subject_id"))
_CASES = Bulk(
    cases,
    (
        "subject_id",
        "case_no",
        "service_number",
        "created_at",
        "stub",
        "posted_by",
        "deadline",
        "provisional",
        "withdrawn_at",
        "default_at",
        "default_reason",
        *_NUMBER,
        *_CONTENT,
    ),
)
_CHANGED_COLUMNS = _CASES.columns[4:]
_UPDATE_CASE = Many(
    update(cases)
    .where(cases.c.subject_id == bindparam("subject"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGED_COLUMNS}),
    ("subject", *(f"new_{name}" for name in _CHANGED_COLUMNS)),
)
_INVITATIONS = Bulk(
    invitations,
    (
        "id",
        "kind",
        "state",
        "reason",
        *_NUMBER,
        "lang",
        "key_map",
        "due_at",
        "created_at",
        "changed_at",
        "group_key",
        "not_after",
        "ended_at",
    ),
)
_UPDATE_INVITATION = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(
        kind=bindparam("about"),
        due_at=bindparam("due"),
        not_after=bindparam("until"),
        lang=bindparam("language"),
        changed_at=bindparam("at"),
    ),
    ("invitation", "about", "due", "until", "language", "at"),
)
_CLOSE_GROUP = Many(
    update(invitations).where(invitations.c.id == bindparam("invitation")).values(group_key=None), ("invitation",)
)
_CANCEL_TEXT = Many(
    update(messages)
    .where(
        messages.c.invitation_id == bindparam("invitation"),
        messages.c.kind == MessageKind.INVITATION.value,
        messages.c.state == MessageState.QUEUED.value,
        messages.c.handed_at.is_(None),
    )
    # No link ever had it: the invitation may be queued once more.
    .values(state=MessageState.CANCELLED.value, reason="changed", once_key=None, changed_at=bindparam("at")),
    ("invitation", "at"),
)
_REST_CODE = Many(
    update(codes)
    .where(codes.c.invitation_id == bindparam("invitation"), codes.c.ended_at.is_(None))
    .values(ended_at=bindparam("at")),
    ("invitation", "at"),
)
_MEMBERS = Bulk(invitation_members, ("invitation_id", "subject_id"))
_LEAVE = Many(
    delete(invitation_members).where(
        invitation_members.c.invitation_id == bindparam("invitation"),
        invitation_members.c.subject_id == bindparam("subject"),
    ),
    ("invitation", "subject"),
)
_EVALUATIONS = Bulk(
    evaluations,
    (
        "subject_id",
        "assess_number",
        "id",
        "rating_id",
        "subject_kind",
        "effective",
        "satisfaction",
        "origin",
        "channel",
        "reasons",
        "comment",
        "assess_time",
        "project_no",
        "service_number",
        "agent",
        "dept_code",
        "dept_name",
        "task_code",
        "task_name",
        "service_name",
        "area_code",
        "created_at",
    ),
)
_OUTBOX = Bulk(outbox, ("evaluation_id", "subject_id", "assess_number", "state", "not_before", "tries", "created_at"))
_FEED = Bulk(feed, ("kind", "subject_id", "assess_number", "at"))
_AUDIT = Bulk(audit, ("id", "at", "actor", "action", "subject_id", "detail"))

_SELECT_CASES = (
    select(cases)
    .join(case_keys, case_keys.c.subject_id == cases.c.subject_id)
    .where(case_keys.c.case_no.in_(bindparam("numbers", expanding=True)))
    .order_by(cases.c.subject_id)
    .with_for_update(of=cases)
)
_SELECT_EVALUATED = (
    select(evaluations.c.subject_id, evaluations.c.origin, calls.c.agent, calls.c.dept)
    .select_from(evaluations)
    .outerjoin(ratings, ratings.c.id == evaluations.c.rating_id)
    .outerjoin(calls, calls.c.subject_id == ratings.c.call_subject_id)
    .where(evaluations.c.subject_id.in_(bindparam("subjects", expanding=True)), evaluations.c.effective)
)
_SELECT_MEMBERSHIPS = select(invitation_members.c.subject_id, invitation_members.c.invitation_id).where(
    invitation_members.c.subject_id.in_(bindparam("subjects", expanding=True))
)
_SELECT_INVITATIONS = (
    select(
        invitations.c.id,
        invitations.c.kind,
        invitations.c.state,
        invitations.c.reason,
        *(invitations.c[name] for name in _NUMBER),
        invitations.c.lang,
        invitations.c.group_key,
        invitations.c.due_at,
        invitations.c.not_after,
        invitations.c.created_at,
        invitations.c.asked_by,
    )
    .where(
        or_(
            invitations.c.id.in_(bindparam("ids", expanding=True)),
            invitations.c.group_key.in_(bindparam("group_keys", expanding=True)),
        )
    )
    .order_by(invitations.c.id)
    .with_for_update()
)
_SELECT_TOLD = (
    select(invitation_members.c.invitation_id, calls.c.agent, calls.c.dept, calls.c.ended_at)
    .join(calls, calls.c.subject_id == invitation_members.c.subject_id)
    .where(invitation_members.c.invitation_id.in_(bindparam("ids", expanding=True)))
)
_SELECT_HANDED = select(messages.c.invitation_id).where(
    messages.c.invitation_id.in_(bindparam("ids", expanding=True)), messages.c.handed_at.is_not(None)
)
_SELECT_OPT_OUTS = select(opt_outs.c.number_hash, opt_outs.c.origin).where(
    opt_outs.c.number_hash.in_(bindparam("hashes", expanding=True)), opt_outs.c.ended_at.is_(None)
)


_ASKED_NOBODY = (
    *(InvitationState.WAITING.value, InvitationState.ASKED.value),
    *(InvitationState.IMPOSSIBLE.value, InvitationState.WITHDRAWN.value),
)
"""Not yet, or never."""


def _in_group(group_key: str) -> Any:
    """The condition of a batch's or theme's cases (`CaseContent.group_key`)."""
    kind, _, identity = group_key.partition(":")
    if kind == "batch":
        return cases.c.batch_id == identity
    return and_(cases.c.theme_id == identity, cases.c.batch_id.is_(None))


class CaseBook:
    """One group's knowledge, and its rows by table. `store` is called once, at the end.

    Args:
        case_nos: every closing of these is loaded.
        group_keys: the batches and themes that the commands name.
        hashes: the numbers that the commands bring.
    """

    def __init__(
        self, unit: Unit, case_nos: Collection[str], group_keys: Collection[str], hashes: Collection[bytes]
    ) -> None:
        self.unit = unit
        self.cases: dict[CaseKey, KnownCase] = {}
        self.invitations: dict[str, KnownInvitation] = {}
        self._groups: dict[str, KnownInvitation] = {}
        self._phones: dict[str, list[_GroupPhone]] = {}
        self._pasts: dict[str, GroupPast | None] = {}
        self._closed_groups: list[tuple[Any, ...]] = []
        self._opt_outs: dict[bytes, OptOut] = {}
        self._joins: list[tuple[Any, ...]] = []
        self._reminds: list[tuple[str, datetime]] = []
        self._leaves: list[tuple[Any, ...]] = []
        self._requeued: list[tuple[Any, ...]] = []
        self._endings: list[Ending] = []
        self._evaluations: list[tuple[Any, ...]] = []
        self._outbox: list[tuple[Any, ...]] = []
        self._feed: list[tuple[Any, ...]] = []
        self._audit: list[tuple[Any, ...]] = []
        self._load_cases(case_nos)
        # A change may bring a case back to a batch or theme that it names already.
        named = {key for case in self.cases.values() for key in case.content.group_keys}
        self._load_invitations({*group_keys, *named})
        known = {case.number.hash for case in self.cases.values()}
        self._load_opt_outs({one for one in {*hashes, *known} if one is not None})

    # ── loading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _load_cases(self, case_nos: Collection[str]) -> None:
        for row in self.unit.execute(_SELECT_CASES, {"numbers": sorted(case_nos)}):
            key = CaseKey(row.case_no, row.service_number)
            content = {name: getattr(row, name) for name in _CONTENT}
            content["lang"] = row.lang or "zh"
            content["closed_at"] = row.closed_at or row.created_at
            self.cases[key] = KnownCase(
                row.subject_id,
                key,
                row.stub,
                CaseContent(**content),
                _number(row),
                row.posted_by,
                row.deadline,
                bool(row.provisional),
                row.withdrawn_at,
                row.created_at,
                default_at=row.default_at,
                default_reason=DefaultReason(row.default_reason) if row.default_reason is not None else None,
                said=Copied(*(content[name] for name in Copied._fields)),
            )

    def _load_invitations(self, group_keys: Collection[str]) -> None:
        by_subject = {case.subject_id: case for case in self.cases.values()}
        memberships: list[Any] = []
        if by_subject:
            subjects = {"subjects": list(by_subject)}
            for row in self.unit.execute(_SELECT_EVALUATED, subjects):
                case = by_subject[row.subject_id]
                case.evaluated, case.told_agent, case.told_dept = Origin(row.origin), row.agent, row.dept
            memberships = list(self.unit.execute(_SELECT_MEMBERSHIPS, subjects))
        ids = sorted({row.invitation_id for row in memberships})
        if not ids and not group_keys:
            return
        for row in self.unit.execute(_SELECT_INVITATIONS, {"ids": ids, "group_keys": sorted(group_keys)}):
            known = self.invitations[row.id] = KnownInvitation(
                row.id,
                SubjectKind(row.kind),
                InvitationState(row.state),
                row.reason,
                _number(row),
                row.lang or "zh",
                row.group_key,
                row.due_at,
                row.not_after,
                row.created_at,
                asked_by_sms=row.asked_by == "sms" or row.state == InvitationState.ASKED.value,
            )
            if known.group_key is not None:
                if is_open(known.state):
                    self._groups[known.group_key] = known
                else:  # whatever ended it: its batch or theme may be asked by another
                    self._closed_groups.append((known.id,))
        every = {"ids": list(self.invitations)}
        for identity, count in count_members(self.unit, every["ids"]).items():
            known = self.invitations[identity]
            known.members, known.open_members, known.calls = count.all, count.open, count.calls
            known.defaulted = count.defaulted
        for row in self.unit.execute(_SELECT_HANDED, every):
            self.invitations[row.invitation_id].asked_by_sms = True
        told = {row.invitation_id: row for row in self.unit.execute(_SELECT_TOLD, every)}
        for row in told.values():
            if row.ended_at is not None:
                self.invitations[row.invitation_id].call_until = row.ended_at + UNSENT_AFTER
        for row in memberships:
            case, known = by_subject[row.subject_id], self.invitations[row.invitation_id]
            case.invitation = _current(case.invitation, known)
            case.asked_by |= {row.invitation_id}
            if (said := told.get(row.invitation_id)) is not None:
                case.told_agent, case.told_dept = said.agent or case.told_agent, said.dept or case.told_dept

    def _load_opt_outs(self, hashes: Collection[bytes]) -> None:
        if not hashes:
            return
        for row in self.unit.execute(_SELECT_OPT_OUTS, {"hashes": sorted(hashes)}):
            if self._opt_outs.get(row.number_hash) is not OptOut.CARRIER:  # the word that nobody here can take back
                self._opt_outs[row.number_hash] = OptOut(row.origin)

    # ── asked ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def latest(self, case_no: str) -> KnownCase | None:
        """The newest closing of a case."""
        found = [case for key, case in self.cases.items() if key.case_no == case_no]
        return max(found, key=lambda case: case.key.service_number, default=None)

    def opt_out(self, number: NumberRow) -> OptOut | None:
        return None if number.hash is None else self._opt_outs.get(number.hash)

    def group(self, group_key: str) -> KnownInvitation | None:
        """The open invitation of a batch or theme."""
        return self._groups.get(group_key)

    def has_another_phone(self, group_key: str, number: NumberRow, apart_from: KnownCase | None = None) -> bool:
        """Whether a batch or theme holds a case of another citizen (withdrawn ones do not count)."""
        apart = apart_from.number if apart_from is not None else None
        for phone in self._phones_of(group_key):
            others = phone.cases - (1 if apart is not None and phone.number.is_same(apart) else 0)
            if others > 0 and not phone.number.is_gone and not phone.number.is_same(number):
                return True
        return False

    def group_size(self, group_key: str) -> int | None:
        """How many cases a batch or theme will have: the largest number that any of them told."""
        return max((phone.size for phone in self._phones_of(group_key) if phone.size is not None), default=None)

    def _phones_of(self, group_key: str) -> list[_GroupPhone]:
        phones = self._phones.get(group_key)
        if phones is None:
            phones = [
                _GroupPhone(
                    NumberRow(NumberKind(row.number_kind), None, row.number_hash, None, None), row.cases, row.size
                )
                for row in self.unit.execute(
                    select(
                        cases.c.number_kind,
                        cases.c.number_hash,
                        func.count().label("cases"),
                        func.max(cases.c.group_size).label("size"),
                    )
                    .where(_in_group(group_key), cases.c.withdrawn_at.is_(None), cases.c.number_kind.is_not(None))
                    .group_by(cases.c.number_kind, cases.c.number_hash)
                )
            ]
            # What this group of commands has not stored yet; `note_group` keeps it up from here on.
            self._phones[group_key] = phones
        return phones

    def note_group(self, case: KnownCase) -> None:
        """A case that is going to be stored has come to its batch or theme."""
        group_key = case.content.group_key
        if group_key is None:
            return
        phones = self._phones_of(group_key)
        for place, phone in enumerate(phones):
            if phone.number.is_same(case.number):
                sizes = [size for size in (phone.size, case.content.group_size) if size is not None]
                phones[place] = _GroupPhone(phone.number, phone.cases + 1, max(sizes, default=None))
                return
        phones.append(_GroupPhone(case.number, 1, case.content.group_size))

    def group_past(self, group_key: str) -> GroupPast | None:
        """How a batch or theme went that was asked before and is closed; None: it was not asked.

        What is open counts for nothing here: it is the group's (`group`), or one that this book is about to end.
        Whatever else asked about a case of the group asked about the group: a case whose asking has begun, or is over,
        changes its batch and theme no more (`PatchCase`), and a call's invitation is none of a group.
        """
        if group_key not in self._pasts:
            row = self.unit.execute(
                select(
                    invitations.c.id,
                    invitations.c.state,
                    invitations.c.reason,
                    ratings.c.id.label("rating_id"),
                    ratings.c.satisfaction,
                    ratings.c.channel,
                    ratings.c.reasons,
                    ratings.c.comment,
                    ratings.c.rated_at,
                )
                .select_from(cases)
                .join(invitation_members, invitation_members.c.subject_id == cases.c.subject_id)
                .join(invitations, invitations.c.id == invitation_members.c.invitation_id)
                .outerjoin(
                    ratings,
                    # A rating in a call is about that call and the case closed in it, not about the group.
                    and_(
                        ratings.c.invitation_id == invitations.c.id,
                        ratings.c.origin == Origin.CITIZEN.value,
                        ratings.c.channel == Channel.SMS.value,
                    ),
                )
                .where(
                    _in_group(group_key),
                    invitations.c.kind == SubjectKind.CASE.value,
                    invitations.c.state.not_in(_ASKED_NOBODY),
                )
                .order_by(ratings.c.rated_at.is_(None), invitations.c.created_at.desc(), ratings.c.rated_at.desc())
                .limit(1)
            ).first()
            past = None
            if row is not None:
                rating = None
                if row.rating_id is not None:
                    rating = GroupRating(
                        row.rating_id,
                        Satisfaction(row.satisfaction),
                        row.channel,
                        row.reasons,
                        row.comment,
                        row.rated_at,
                    )
                past = GroupPast(row.id, InvitationState(row.state), row.reason, rating)
            self._pasts[group_key] = past
        return self._pasts[group_key]

    # ── done ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, case: KnownCase) -> None:
        """A case that was not known."""
        case.new = True
        self.cases[case.key] = case

    def join(self, case: KnownCase, invitation: KnownInvitation) -> None:
        """The case becomes a member, and leaves the invitation it had."""
        self.leave(case)
        invitation.members += 1
        invitation.open_members += case.evaluated is None
        invitation.defaulted += case.evaluated is Origin.DEFAULT
        case.invitation = invitation
        self._joins.append((invitation.id, case.subject_id))
        self.remind(case)

    def remind(self, case: KnownCase) -> None:
        """The case may have to be reminded of sooner than what its invitation asked about so far."""
        known = case.invitation
        if known is not None and (is_open(known.state) or known.state is InvitationState.IMPOSSIBLE):
            self._reminds.append((known.id, case.content.closed_at))

    def leave(self, case: KnownCase) -> None:
        """The case is no member any more."""
        known, case.invitation = case.invitation, None
        if known is None:
            return
        known.members -= 1
        known.open_members -= case.evaluated is None and case.withdrawn_at is None
        known.defaulted -= case.evaluated is Origin.DEFAULT and case.withdrawn_at is None
        if (known.id, case.subject_id) in self._joins:
            self._joins.remove((known.id, case.subject_id))
        else:
            self._leaves.append((known.id, case.subject_id))

    def invite(self, invitation: KnownInvitation) -> None:
        """An invitation that was not known."""
        invitation.new = True
        self.invitations[invitation.id] = invitation
        if invitation.group_key is not None:
            self._groups[invitation.group_key] = invitation

    def end(self, invitation: KnownInvitation, state: InvitationState, reason: str | None, now: datetime) -> None:
        """Nothing more is sent for this invitation."""
        self._endings.append(Ending(invitation.id, state, reason, now))
        invitation.state, invitation.reason, invitation.due_at = state, reason, None
        self.close_group(invitation)

    def end_without(self, invitation: KnownInvitation, why: str, now: datetime) -> None:
        """Nobody whom it asks about is left. Where a default stands it is `defaulted`, as if that had come last: a
        rating may still take its place."""
        if invitation.defaulted > 0:
            self.end(invitation, InvitationState.DEFAULTED, None, now)
        else:
            self.end(invitation, InvitationState.WITHDRAWN, why, now)

    def close_group(self, invitation: KnownInvitation) -> None:
        """Its batch or theme may be asked by another from here on."""
        if invitation.group_key is not None:
            self._groups.pop(invitation.group_key, None)
            self._closed_groups.append((invitation.id,))  # before another gets the key: it is unique
            invitation.group_key = None

    def ask_without(self, invitation: KnownInvitation, now: datetime) -> None:
        """A case has left an invitation that goes on without it: a text that is made already names it, or counts it."""
        if invitation.queued:
            self._requeued.append((invitation.id, now))
            invitation.due_at = now
        if invitation.calls == invitation.members:  # its life is a call's from here on
            invitation.kind = SubjectKind.CALL
            invitation.not_after = invitation.call_until or invitation.not_after
        invitation.changed = True

    def copy_rating(
        self, case: KnownCase, rating: GroupRating, evaluation_id: str, rules: CaseRules, now: datetime
    ) -> None:
        """The rating of its batch or theme, as seen from a case that came later."""
        content, key = case.content, (case.subject_id, 1)
        area = content.area_code or rules.area_code
        self.unit.deltas.evaluation(
            1,
            Whose(SubjectKind.CASE, dept=content.dept_code, area=area),
            rating.rated_at,
            rating.satisfaction,
            Channel(rating.channel),
            Origin.CITIZEN,
            reasons=rating.reasons,
        )
        self._evaluations.append(
            (
                *key,
                evaluation_id,
                rating.id,
                SubjectKind.CASE.value,
                True,
                rating.satisfaction.value,
                Origin.CITIZEN.value,
                rating.channel,
                rating.reasons,
                rating.comment,
                rating.rated_at,
                project_no(case.key.case_no),
                case.key.service_number,
                content.agent,
                content.dept_code,
                content.dept_name,
                content.task_code,
                content.task_name,
                rules.service_name,
                area,
                now,
            )
        )
        not_before = now
        if rating.satisfaction.is_bad and not rating.reasons and not rating.comment:
            not_before = max(now, rating.rated_at + rules.reason_hold)
        self._outbox.append((evaluation_id, *key, OutboxState.WAITING.value, not_before, 0, now))
        self._feed.append((FeedKind.EVALUATION.value, *key, now))
        case.evaluated = Origin.CITIZEN

    def audit(self, row: tuple[str, datetime, str, AuditAction, str | None, str | None]) -> None:
        """id, at, actor, action, subject, detail."""
        own_id, at, actor, action, *rest = row
        self._audit.append((own_id, at, actor, action.value, *rest))

    def store(self, rules: CaseRules, now: datetime) -> None:
        unit = self.unit
        new = [case for case in self.cases.values() if case.new]
        unit.insert(_CASE_KEYS, [(*case.key, case.subject_id) for case in new])
        unit.insert(_CASES, [(case.subject_id, *case.key, case.created_at, *_changed(case)) for case in new])
        unit.many(
            _UPDATE_CASE,
            [(case.subject_id, *_changed(case)) for case in self.cases.values() if case.changed and not case.new],
        )
        unit.many(_CLOSE_GROUP, self._closed_groups)
        unit.insert(_INVITATIONS, [_invitation(one, rules, now) for one in self._invitations_that(new=True)])
        unit.many(
            _UPDATE_INVITATION,
            [
                (one.id, one.kind.value, one.due_at, one.not_after, one.lang, now)
                for one in self._invitations_that(new=False)
            ],
        )
        unit.many(_LEAVE, self._leaves)
        unit.insert(_MEMBERS, self._joins)
        unit.many(REMIND, [(identity, closed_at + rules.reminder_after) for identity, closed_at in self._reminds])
        unit.many(_CANCEL_TEXT, self._requeued)
        unit.many(_REST_CODE, self._requeued)
        end_invitations(unit, self._endings)
        self._restate(rules, now)
        unit.insert(_EVALUATIONS, self._evaluations)
        unit.insert(_OUTBOX, self._outbox)
        unit.insert(_FEED, self._feed)
        unit.insert(_AUDIT, self._audit)

    def _restate(self, rules: CaseRules, now: datetime) -> None:
        """What its evaluations copy from a case follows it."""
        moved: dict[str, Copied] = {}
        left: dict[str, set[tuple[str | None, str | None]]] = {}
        for case in self.cases.values():
            if case.said is None or not case.changed:
                continue
            says = _says(case.content, rules)
            if says != case.said:
                moved[case.subject_id] = says
                for identity in case.asked_by:
                    areas = {case.said.area_code, case.said.area_code or rules.area_code}
                    left.setdefault(identity, set()).update((case.said.dept_code, area) for area in areas)
        evaluations_follow(self.unit, moved, now)
        invitations_follow(self.unit, left, rules.area_code)

    def _invitations_that(self, *, new: bool) -> Iterable[KnownInvitation]:
        if new:
            return [one for one in self.invitations.values() if one.new]
        return [one for one in self.invitations.values() if one.changed and not one.new and is_open(one.state)]


def _number(row: Any) -> NumberRow:
    kind = NumberKind(row.number_kind) if row.number_kind is not None else NumberKind.ANONYMOUS
    return NumberRow(kind, row.number_sealed, row.number_hash, row.number_tail, row.number_key_id)


def _says(content: CaseContent, rules: CaseRules) -> Copied:
    said = Copied(*(getattr(content, name) for name in Copied._fields))
    return said._replace(area_code=said.area_code or rules.area_code)


def _current(first: KnownInvitation | None, second: KnownInvitation) -> KnownInvitation:
    """Of the invitations of a case the one that counts: the open one, else the newest."""
    if first is None:
        return second
    return max(first, second, key=lambda one: (is_open(one.state), one.created_at))


def _changed(case: KnownCase) -> Sequence[Any]:
    """The values of _CHANGED_COLUMNS."""
    return (
        case.stub,
        case.posted_by,
        case.deadline,
        case.provisional,
        case.withdrawn_at,
        case.default_at,
        case.default_reason.value if case.default_reason is not None else None,
        *case.number.values,
        *(getattr(case.content, name) for name in _CONTENT),
    )


def _invitation(one: KnownInvitation, rules: CaseRules, now: datetime) -> tuple[Any, ...]:
    # The number stands with an invitation only while something may be sent (ADR 0009).
    waiting = one.state is InvitationState.WAITING
    number = one.number if waiting else NumberRow(one.number.kind, None, None, None, None)
    return (
        one.id,
        one.kind.value,
        one.state.value,
        one.reason,
        *number.values,
        one.lang,
        rules.key_map,
        one.due_at,
        now,
        now,
        one.group_key,
        one.not_after,
        None if waiting else now,
    )
