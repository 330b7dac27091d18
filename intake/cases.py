"""Cases 工单 come in: posted, changed, withdrawn; and what follows for their invitations (docs/data-model.md).

Rules kept here:

1. The same content again changes nothing (200); another content under a known number is refused (409); a stub that a
   call has made is completed by the first post (201).
2. A subject is asked by one invitation. A case whose call is already asked joins the call's; one of a batch or theme
   joins the group's; one that comes after the group's rating takes a copy of it.
3. A case that cannot be asked is stored with an invitation that says why, and its deadline stays.
4. Before the first SMS everything may be changed; after it not the phone. Batch and theme stay once the case was asked,
   in whatever way, or rated: a later member of a group takes what its citizen said of the group, of no case alone.
5. A withdrawn case is asked nothing more and has no deadline. What it was rated stays.
6. What an evaluation copies from its case follows a completed and a changed one (intake/restated.py).
7. A deadline is computed with the calendar that is stored when it is stored (intake/calendars.py, rule 2); a changed
   closing or area computes it again, unless the case is rated. Whether it is backlog goes by when the case first came,
   never by when it was changed or completed: that may be in the grace after its deadline. What was settled stays: no
   default for a forgotten citizen's case, nor on a deadline that passed while defaults were switched off.

A command carries the ids of all it may store, so that running twice (models/door.py, rule 3) stores the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, ClassVar

from sqlalchemy import text

from intake.asking import Invited, group_due_at, impossible_reason, is_open, told
from intake.casebook import CaseBook, CaseKey, CaseRules, KnownCase, KnownInvitation, NumberRow
from intake.deadlines import Due
from intake.posted import CASE_FIELDS, CaseContent, CasePatch, CaseRefused, PostedCase, Problem
from intake.workdays import WorkingDays
from models.clock import Clock
from models.door import Door, Priority, Unit
from models.ids import new_id
from models.privacy import Keyring
from models.terms import AuditAction, DefaultReason, InvitationState, Origin, SubjectKind

__all__ = ["AT_ONCE", "CaseDesk", "CaseRules", "PatchCase", "PostCase", "Poster", "Verdict", "WithdrawCase"]

AT_ONCE = 64
"""Cases of one request that are queued at a time: calls and replies get in between."""


@dataclass(frozen=True, slots=True)
class Poster:
    """Who posts. `name` is stored with the case: only the same one may read and change it. `actor`: in the audit."""

    name: str
    actor: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one item. `status` as in HTTP; `problems`: why it is none of 200 and 201."""

    status: int
    case_no: str
    service_number: int | None = None
    invited: Invited = Invited.NONE
    reason: str | None = None
    deadline: datetime | None = None
    provisional: bool = False
    problems: tuple[Problem, ...] = ()
    due: bool = False
    """An SMS may go at once."""

    @property
    def taken(self) -> bool:
        return self.status < 300


@dataclass(frozen=True, slots=True)
class Ids:
    """Made with the command, before it runs."""

    case: str
    invitation: str
    evaluation: str
    audit: str

    @classmethod
    def new(cls) -> Ids:
        return cls(new_id(), new_id(), new_id(), new_id())


def _refused(case_no: str, status: int, *problems: Problem) -> Verdict:
    return Verdict(status, case_no, problems=problems)


def _verdict(case: KnownCase, status: int, now: datetime) -> Verdict:
    """How a case stands."""
    invited, reason = _standing(case)
    known = case.invitation
    due_at = known.due_at if known is not None and known.state is InvitationState.WAITING else None
    return Verdict(
        status,
        case.key.case_no,
        case.key.service_number,
        invited,
        reason,
        case.deadline,
        case.provisional,
        due=due_at is not None and due_at <= now,
    )


def _standing(case: KnownCase) -> tuple[Invited, str | None]:
    if case.withdrawn_at is not None:
        return Invited.NONE, "withdrawn"
    if case.evaluated is not None:
        return Invited.NONE, "rated" if case.evaluated is Origin.CITIZEN else "defaulted"
    if case.invitation is None:
        return Invited.NONE, None
    return told(case.invitation.state, case.invitation.reason, case.invitation.members)


# ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _place(book: CaseBook, case: KnownCase, rules: CaseRules, ids: Ids, now: datetime) -> None:
    """Finds the invitation of a case that has come in, or was changed."""
    known = case.invitation
    if case.evaluated is not None:
        return
    if known is not None and known.state is not InvitationState.IMPOSSIBLE:
        if known.state is InvitationState.WAITING:  # its call's: it may be sent as long as the case has time
            _extend(known, case)
        _take_theme(book, case, rules, ids, now)
        return
    group_key = case.content.group_key
    if group_key is not None and _place_in_group(book, case, group_key, rules, ids, now):
        return
    overdue = case.deadline is None or case.deadline <= now
    too_old = overdue or now - case.content.closed_at > rules.max_age
    reason = impossible_reason(case.number.kind, book.opt_out(case.number), too_old=too_old)
    due_at = None
    if reason is None:
        # A clock ahead of ours closes cases in our future; nobody is asked before the case is closed.
        due_at = max(now, case.content.closed_at)
        if group_key is not None:
            due_at = group_due_at(1, book.group_size(group_key), due_at, rules.group_wait)
    invitation = KnownInvitation(
        ids.invitation,
        SubjectKind.CASE,
        InvitationState.WAITING if reason is None else InvitationState.IMPOSSIBLE,
        reason,
        case.number,
        case.content.lang,
        group_key if reason is None else None,
        due_at,
        case.deadline if reason is None else None,
        now,
    )
    book.invite(invitation)
    book.join(case, invitation)


def _place_in_group(book: CaseBook, case: KnownCase, group_key: str, rules: CaseRules, ids: Ids, now: datetime) -> bool:
    """Puts a case to its batch or theme; False: it is the first that is asked."""
    known = book.group(group_key)
    if known is not None:
        book.join(case, known)
        if known.state is InvitationState.WAITING:
            _extend(known, case)
            if known.due_at is not None:
                known.due_at = group_due_at(known.members, book.group_size(group_key), now, rules.group_wait)
        return True
    past = book.group_past(group_key)
    if past is None:
        return False
    invitation = KnownInvitation(
        past.invitation_id,
        SubjectKind.CASE,
        past.state,
        past.reason,
        case.number,
        case.content.lang,
        None,
        None,
        None,
        now,
    )
    if past.rating is not None:
        book.join(case, invitation)
        book.copy_rating(case, past.rating, ids.evaluation, rules, now)
        return True
    if past.state is InvitationState.RATED:  # each of its cases was rated by itself, in a call: nobody was asked
        return False
    book.join(case, invitation)
    return True


def _take_theme(book: CaseBook, case: KnownCase, rules: CaseRules, ids: Ids, now: datetime) -> None:
    """A theme's overall rating covers the case, too, that its call asks about."""
    content, known = case.content, case.invitation
    if content.theme_id is None or content.batch_id is not None or content.group_key is None:
        return
    past = book.group_past(content.group_key)
    if past is not None and past.rating is not None:
        book.copy_rating(case, past.rating, ids.evaluation, rules, now)
        if known is not None:
            known.open_members -= 1


def _extend(known: KnownInvitation, case: KnownCase) -> None:
    """An SMS that asks about this case, too, may be sent until its deadline."""
    if case.deadline is not None and (known.not_after is None or known.not_after < case.deadline):
        known.not_after = case.deadline
    known.changed = True


def _may_regroup(known: KnownInvitation) -> bool:
    """Whether a case of this invitation may still change its batch or theme: nobody was asked, or could be."""
    return known.state in {InvitationState.WAITING, InvitationState.IMPOSSIBLE}


# ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────────────


# Taken in one order, whoever posts; ours until the transaction ends.
_ONE_AFTER_ANOTHER = text(
    "SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) WITH ORDINALITY AS named (key, place)"
    " ORDER BY place"
)


def _lock_key(name: str) -> int:
    """A PostgreSQL advisory lock; two names of one key wait for each other without need, and that is all."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)


@dataclass(frozen=True, slots=True)
class PostCase:
    """A case as posted. Result: `Verdict`."""

    key: CaseKey
    content: CaseContent
    number: NumberRow
    poster: Poster
    now: datetime
    rules: CaseRules
    ids: Ids
    # Behind calls and replies, whose citizens wait; before sweeps, of which a group takes but one.
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[PostCase]) -> list[Verdict]:
        days = commands[0].rules.deadlines.calendar.hold(unit)
        if not unit.is_sqlite:
            # Nobody sees what another process is about to store: who posts the same case or batch waits for it here.
            named = {f"case:{command.key.case_no}" for command in commands}
            named |= {key for command in commands if (key := command.content.group_key) is not None}
            unit.execute(_ONE_AFTER_ANOTHER, {"keys": sorted(map(_lock_key, named))})
        book = CaseBook(
            unit,
            {command.key.case_no for command in commands},
            {key for command in commands if (key := command.content.group_key) is not None},
            {command.number.hash for command in commands if command.number.hash is not None},
        )
        results = [command._decide(book, days) for command in commands]
        book.store(commands[0].rules, commands[0].now)
        return results

    def _decide(self, book: CaseBook, days: WorkingDays) -> Verdict:
        case = book.cases.get(self.key)
        if case is not None and case.subject_id == self.ids.case:  # the first run's COMMIT held, its answer was lost
            return _verdict(case, 201, self.now)
        if case is not None and not case.stub:
            return self._again(case)
        group_key = self.content.group_key
        if group_key is not None and book.has_another_phone(group_key, self.number):
            return _refused(
                self.key.case_no, 409, Problem("phone", "is not that of the batch or theme; it holds one citizen's")
            )
        action = AuditAction.CASE_POSTED if case is None else AuditAction.CASE_COMPLETED
        # It says its area itself, so that who sees by area sees the same of case and evaluation.
        content = _in_area(self.content, self.rules)
        if case is None:
            due = self.rules.deadlines.due(days, content.closed_at, content.area_code, self.now)
            case = KnownCase(
                self.ids.case,
                self.key,
                stub=False,
                content=content,
                number=self.number,
                posted_by=self.poster.name,
                deadline=due.deadline,
                provisional=due.provisional,
                withdrawn_at=None,
                created_at=self.now,
                default_at=due.default_at,
                default_reason=due.default_reason,
            )
            book.add(case)
        else:
            case.content = _with_told(content, case)
            case.stub, case.number, case.posted_by = False, self.number, self.poster.name
            case.fall_due(_due_anew(case, case.content, days, self.rules, self.now))
        book.note_group(case)
        _place(book, case, self.rules, self.ids, self.now)
        book.audit((self.ids.audit, self.now, self.poster.actor, action, case.subject_id, _standing(case)[1]))
        return _verdict(case, 201, self.now)

    def _again(self, case: KnownCase) -> Verdict:
        # What is kept no longer cannot differ.
        gone = case.number.is_gone
        left_out = {"case_no", "service_number", "phone", *(("title",) if gone else ())}
        told, known = _with_told(_in_area(self.content, self.rules), case), _in_area(case.content, self.rules)
        compared = [name for name in CASE_FIELDS if name not in left_out]
        differing = [name for name in compared if getattr(told, name) != getattr(known, name)]
        if not gone and not self.number.is_same(case.number):
            differing.insert(0, "phone")
        if not differing:
            return _verdict(case, 200, self.now)
        if case.posted_by != self.poster.name:  # whose it is not, learns nothing of it
            return _refused(self.key.case_no, 409, Problem("case_no", "is known with another content"))
        return _refused(
            self.key.case_no,
            409,
            *(Problem(name, "is another than before; PATCH changes a case") for name in differing),
        )


def _due_anew(case: KnownCase, content: CaseContent, days: WorkingDays, rules: CaseRules, now: datetime) -> Due:
    """When a known case is due with another content; where it was settled that no default follows, none does."""
    due = rules.deadlines.due(days, content.closed_at, content.area_code, case.created_at)
    why = case.default_reason
    if case.evaluated is not None:
        settled, why = True, DefaultReason.RATED if case.evaluated is Origin.CITIZEN else why
    else:
        passed_unused = why is DefaultReason.SWITCHED_OFF and due.deadline <= now
        settled = why is DefaultReason.FORGOTTEN or passed_unused
    return replace(due, default_at=None, default_reason=why) if settled else due


def _in_area(content: CaseContent, rules: CaseRules) -> CaseContent:
    """A case that names no area lies in the hotline's."""
    return content if content.area_code else replace(content, area_code=rules.area_code)


def _with_told(content: CaseContent, case: KnownCase) -> CaseContent:
    """What was posted, with what the case's call knows and the post does not say."""
    return replace(content, agent=content.agent or case.told_agent, dept_code=content.dept_code or case.told_dept)


@dataclass(frozen=True, slots=True)
class PatchCase:
    """Changes to a posted case. `service_number` None: the latest closing. Result: `Verdict`."""

    case_no: str
    service_number: int | None
    patch: CasePatch
    number: NumberRow | None
    poster: Poster
    now: datetime
    rules: CaseRules
    ids: Ids
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[PatchCase]) -> list[Verdict]:
        # One by one: a change may move a case from one batch to another, and the next one has to see it.
        return [command._run(unit) for command in commands]

    def _run(self, unit: Unit) -> Verdict:
        groups = {
            f"{kind}:{identity}"
            for kind, name in (("batch", "batch_id"), ("theme", "theme_id"))
            if (identity := self.patch.changes.get(name)) is not None
        }
        hashes = {self.number.hash} if self.number is not None and self.number.hash is not None else set()
        days = self.rules.deadlines.calendar.hold(unit)
        book = CaseBook(unit, {self.case_no}, groups, hashes)
        result = self._decide(book, days)
        if result.taken:
            book.store(self.rules, self.now)
        return result

    def _decide(self, book: CaseBook, days: WorkingDays) -> Verdict:
        case = _own(book, self.case_no, self.service_number, self.poster)
        if case is None:
            return _refused(self.case_no, 404, Problem("case_no", "is not known"))
        if case.withdrawn_at is not None:
            return _refused(self.case_no, 409, Problem("case_no", "was withdrawn"))
        try:
            content = _in_area(_with_told(self.patch.applied(case.content), case), self.rules)
        except CaseRefused as refused:
            return _refused(self.case_no, 422, *refused.problems)
        number = self.number if self.number is not None and not self.number.is_same(case.number) else case.number
        if problem := self._objection(book, case, content, number):
            return _refused(self.case_no, 409, problem)
        before = _in_area(case.content, self.rules)
        changed = [name for name in CASE_FIELDS if getattr(content, name, None) != getattr(before, name, None)]
        moved = number is not case.number
        if not changed and not moved:
            return _verdict(case, 200, self.now)
        if (content.closed_at, content.area_code) != (before.closed_at, before.area_code) and case.evaluated is None:
            case.fall_due(_due_anew(case, content, days, self.rules, self.now))
        case.content, case.changed = content, True
        self._ask_anew(book, case, before, number)
        book.remind(case)
        detail = ", ".join([*(["phone"] if moved else []), *changed])
        book.audit((self.ids.audit, self.now, self.poster.actor, AuditAction.CASE_PATCHED, case.subject_id, detail))
        return _verdict(case, 200, self.now)

    def _objection(self, book: CaseBook, case: KnownCase, content: CaseContent, number: NumberRow) -> Problem | None:
        asked = case.invitation is not None and case.invitation.asked_by_sms
        if number is not case.number and asked:
            return Problem("phone", "cannot be changed after the first SMS")
        if asked or case.evaluated is not None or (case.invitation is not None and not _may_regroup(case.invitation)):
            for name in ("batch_id", "theme_id"):
                if getattr(content, name) != getattr(case.content, name):
                    return Problem(name, "cannot be changed once the case was asked or rated")
        group_key = content.group_key
        apart_from = case if group_key == case.content.group_key else None
        if group_key is not None and book.has_another_phone(group_key, number, apart_from=apart_from):
            return Problem("phone", "is not that of the batch or theme; it holds one citizen's")
        return None

    def _ask_anew(self, book: CaseBook, case: KnownCase, before: CaseContent, number: NumberRow) -> None:
        """What a change does to the asking. After the first SMS it goes on as it is; where a call asks, a new phone
        alone parts the case from it: the caller is asked about the call, the citizen about the case."""
        known, now, content = case.invitation, self.now, case.content
        moved, case.number = number is not case.number, number
        if known is None or case.evaluated is not None:
            return
        own = (known.kind is SubjectKind.CASE or moved) and not known.asked_by_sms
        if own and known.state in {InvitationState.WAITING, InvitationState.IMPOSSIBLE}:
            regrouped = content.group_key != before.group_key
            rewritten = known.queued and (content.lang, content.closed_at) != (before.lang, before.closed_at)
            too_old = now - content.closed_at > self.rules.max_age
            reason = impossible_reason(number.kind, book.opt_out(number), too_old=too_old)
            reclosed = content.closed_at != before.closed_at and reason != known.reason
            alone = known.open_members == 1
            if moved or regrouped or reclosed or (rewritten and alone):
                book.leave(case)
                if alone and is_open(known.state):
                    book.end_without(known, "changed", now)
                elif moved:  # who is left there are calls: of its cases nobody has the new phone
                    book.close_group(known)
                if regrouped:
                    book.note_group(case)
                _place(book, case, self.rules, self.ids, now)
                if case.invitation is not known and is_open(known.state):
                    book.ask_without(known, now)
                return
        if known.state is InvitationState.WAITING:
            if known.open_members == 1:
                known.lang = content.lang
                known.not_after = case.deadline
            group_key = content.group_key
            if group_key is not None and content.group_size != before.group_size and known.due_at is not None:
                size = content.group_size or book.group_size(group_key)
                known.due_at = group_due_at(known.members, size, now, self.rules.group_wait)
            _extend(known, case)


@dataclass(frozen=True, slots=True)
class WithdrawCase:
    """A case is taken back. `service_number` None: the latest closing. Result: `Verdict`."""

    case_no: str
    service_number: int | None
    poster: Poster
    now: datetime
    rules: CaseRules
    ids: Ids
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[WithdrawCase]) -> list[Verdict]:
        book = CaseBook(unit, {command.case_no for command in commands}, (), ())
        results = [command._decide(book) for command in commands]
        book.store(commands[0].rules, commands[0].now)
        return results

    def _decide(self, book: CaseBook) -> Verdict:
        case = _own(book, self.case_no, self.service_number, self.poster)
        if case is None:
            return _refused(self.case_no, 404, Problem("case_no", "is not known"))
        if case.withdrawn_at is None:
            known = case.invitation
            if known is not None and case.evaluated is None:
                known.open_members -= 1
                if known.open_members == 0 and is_open(known.state):
                    book.end_without(known, "withdrawn", self.now)
            elif known is not None and case.evaluated is Origin.DEFAULT:
                known.defaulted -= 1
            case.withdrawn_at, case.deadline, case.provisional, case.changed = self.now, None, False, True
            case.default_at = None
            if case.evaluated is None and case.default_reason is None:
                case.default_reason = DefaultReason.WITHDRAWN
            book.audit((self.ids.audit, self.now, self.poster.actor, AuditAction.CASE_WITHDRAWN, case.subject_id, None))
        return _verdict(case, 200, self.now)


def _own(book: CaseBook, case_no: str, service_number: int | None, poster: Poster) -> KnownCase | None:
    """A posted case of this poster; others are as if they were not there."""
    case = book.latest(case_no) if service_number is None else book.cases.get(CaseKey(case_no, service_number))
    return case if case is not None and not case.stub and case.posted_by == poster.name else None


# ── the desk ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class CaseDesk:
    """Where cases are handed in. Everything returns futures of the door; nothing blocks.

    Numbers are sealed before they are queued: no queue, log or error holds one in clear.

    Args:
        wake: called after a commit that made an SMS due at once; from the writer's thread.
    """

    def __init__(
        self, door: Door, keyring: Keyring, clock: Clock, rules: CaseRules, *, wake: Callable[[], None] | None = None
    ) -> None:
        self.door = door
        self.clock = clock
        self.rules = rules
        self._keyring = keyring
        self._wake = wake

    def post(self, cases: Sequence[PostedCase], poster: Poster) -> list[Future[Verdict]]:
        """Hands in cases, at most `AT_ONCE` at a time (the caller waits before it brings more)."""
        now = self.clock.now()
        commands = [
            PostCase(
                CaseKey(case.case_no, case.service_number),
                case.content,
                self._sealed(case),
                poster,
                now,
                self.rules,
                Ids.new(),
            )
            for case in cases
        ]
        return [self._submit(command) for command in commands]

    def patch(self, case_no: str, service_number: int | None, patch: CasePatch, poster: Poster) -> Future[Verdict]:
        """Changes a case."""
        number = None
        if patch.number is not None:
            value = patch.number.value
            number = NumberRow.of(patch.number.kind, self._keyring.seal(value) if value is not None else None)
        return self._submit(
            PatchCase(
                case_no,
                service_number,
                replace(patch, number=None),
                number,
                poster,
                self.clock.now(),
                self.rules,
                Ids.new(),
            )
        )

    def withdraw(self, case_no: str, service_number: int | None, poster: Poster) -> Future[Verdict]:
        """Takes a case back."""
        return self._submit(WithdrawCase(case_no, service_number, poster, self.clock.now(), self.rules, Ids.new()))

    def _sealed(self, case: PostedCase) -> NumberRow:
        value = case.number.value
        return NumberRow.of(case.number.kind, self._keyring.seal(value) if value is not None else None)

    def _submit(self, command: Any) -> Future[Verdict]:
        future: Future[Verdict] = self.door.submit(command)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[Verdict]) -> None:
        if self._wake is None or future.cancelled() or future.exception() is not None:
            return
        if future.result().due:
            self._wake()
