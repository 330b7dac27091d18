"""What tests of replies share: a record with calls, cases and invitations, and replies to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, insert, select, update

from config.keymap import KeyMap
from intake.conversation import Heard, ReplyRules, Said
from intake.decide import PushCalls
from intake.inbound import NewPart, Received, StoreInbound
from intake.numbers import normalise_number
from intake.outgoing import NewMessage, StoredNumber, queue_messages
from intake.replies import Taken, TakeReply, TakingRules
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.tables import (
    call_keys,
    calls,
    case_keys,
    cases,
    codes,
    evaluations,
    invitation_members,
    invitations,
    messages,
    outbox,
    ratings,
)
from models.terms import InvitationState, MessageKind, Satisfaction

KEYS = KeyMap.of({"1": 5, "2": 4, "3": 3, "4": 2, "5": 1})
CITIZEN = "13800000001"
WAIT = 10
WINDOW = timedelta(seconds=180)
RULES = TakingRules(
    ReplyRules({Satisfaction(2): ("209", "213", "214"), Satisfaction(1): ("110", "115")}),
    area_code="622900",
    service_name="12345热线",
    push_calls=PushCalls.WITHOUT_CASE,
)


def level(satisfaction: int, comment: str = "", text: str | None = None) -> Heard:
    """A reply with a level."""
    value = Satisfaction(satisfaction)
    words = text if text is not None else f"{KEYS.key_of(value)}{comment and '，' + comment}"
    return Heard(Said.RATING, words, KEYS.version, value, comment, "R6-digit")


def words(text: str, **more: Any) -> Heard:
    """A reply without a level."""
    return Heard(Said.UNCLEAR, text, KEYS.version, why="R4-no-level", **more)


OPT_OUT = Heard(Said.OPT_OUT, "TD", KEYS.version, why="R1-opt-out")
OPT_IN = Heard(Said.OPT_IN, "恢复", KEYS.version, why="R1-opt-in")
AUTOMATIC = Heard(Said.AUTOMATIC, "【自动回复】我正在开会", KEYS.version, why="R3-automatic")
UNREADABLE = Heard(Said.UNREADABLE, None, KEYS.version)


@dataclass
class Replying:
    """A record and its citizens."""

    door: Door
    database: Database
    keyring: Keyring
    clock: TurnedClock
    rules: TakingRules = RULES
    _reference: int = field(default=0)

    # ── what is there ─────────────────────────────────────────────────────────────────────────────────────────────────

    def number(self, raw: str = CITIZEN) -> StoredNumber:
        number = normalise_number(raw)
        assert number.value is not None
        sealed = self.keyring.seal(number.value)
        return StoredNumber(number.kind.value, sealed.sealed, sealed.hash, sealed.tail, sealed.key_id)

    def columns(self, raw: str = CITIZEN) -> dict[str, Any]:
        return dict(zip(("number_kind", "number_sealed", "number_hash", "number_tail", "number_key_id"),
                        self.number(raw), strict=True))  # fmt: skip

    def write(self, *statements: Any) -> None:
        def run(unit: Any) -> None:
            for statement in statements:
                unit.execute(statement)

        self.door.write(run).result(WAIT)

    def call(self, key: str = "lx-1", raw: str = CITIZEN) -> str:
        """A call that ended unrated."""
        subject, now = new_id(), self.clock.now()
        self.write(
            insert(call_keys).values(call_key=key, subject_id=subject),
            insert(calls).values(
                subject_id=subject, call_key=key, agent="2001", queue="support", dept="11622900", outcome="hangup",
                source="ivr", ended_at=now, created_at=now, **self.columns(raw),
            ),
        )  # fmt: skip
        return subject

    def case(self, case_no: str = "GD-1", raw: str = CITIZEN, **more: Any) -> str:
        """A closed case; `more` goes before."""
        subject, now = new_id(), self.clock.now()
        values = {
            "subject_id": subject, "case_no": case_no, "service_number": 1, "stub": False, "dept_code": "X",
            "dept_name": "住建局", "closed_at": now, "deadline": now + timedelta(days=7), "created_at": now,
            **self.columns(raw), **more,
        }  # fmt: skip
        self.write(
            insert(case_keys).values(case_no=case_no, service_number=1, subject_id=subject),
            insert(cases).values(**values),
        )
        return subject

    def invite(
        self,
        *subjects: str,
        state: InvitationState = InvitationState.ASKED,
        code: str | None = "07",
        raw: str = CITIZEN,
        ended: timedelta | None = None,
        kind: str = "case",
        **more: Any,
    ) -> str:
        """An invitation with its code; `ended`: so long ago."""
        identity, now = new_id(), self.clock.now()
        ended_at = None if ended is None else now - ended
        open_ = state in (InvitationState.WAITING, InvitationState.ASKED)
        number = self.columns(raw) if open_ else {"number_kind": "mobile"}
        values = {
            "id": identity, "kind": kind, "state": state.value, "lang": "zh", "key_map": KEYS.version,
            "asked_by": "sms" if state is not InvitationState.WAITING else None,
            "first_asked_at": now if state is not InvitationState.WAITING else None,
            "due_at": now + timedelta(days=7) if open_ else None,
            "created_at": now, "changed_at": now, "ended_at": ended_at, **number, **more,
        }  # fmt: skip
        statements: list[Any] = [insert(invitations).values(**values)]
        statements += [insert(invitation_members).values(invitation_id=identity, subject_id=one) for one in subjects]
        if code is not None:
            statements.append(
                insert(codes).values(id=new_id(), code=code, invitation_id=identity, given_at=now, ended_at=ended_at,
                                     **self.columns(raw))
            )  # fmt: skip
        self.write(*statements)
        return identity

    def queue(self, kind: MessageKind, once_key: str, invitation: str | None) -> None:
        """An SMS of ours that waits for a link."""
        now = self.clock.now()
        new = NewMessage(new_id(), kind, once_key, self.number(), invitation, "07", "zh", {}, "", now, None)
        self.door.write(lambda unit: queue_messages(unit, [new], now)).result(WAIT)

    def default(self, subject: str) -> None:
        """The default rating of a case, effective and pushed."""
        self.rated(subject, 3, origin="default", channel="system")

    def rated(
        self, subject: str, satisfaction: int, *, origin: str = "citizen", channel: str = "keypad",
        invitation: str | None = None, kind: str = "case",
    ) -> str:  # fmt: skip
        """A rating from elsewhere, with its evaluation."""
        rating, now = new_id(), self.clock.now()
        self.write(
            insert(ratings).values(
                id=rating, invitation_id=invitation, channel=channel, origin=origin, raw_input="", rated_at=now,
                key_map=KEYS.version, satisfaction=satisfaction, late=False, created_at=now,
            ),
            insert(evaluations).values(
                subject_id=subject, assess_number=1, id=new_id(), rating_id=rating, subject_kind=kind, effective=True,
                satisfaction=satisfaction, origin=origin, channel=channel, assess_time=now, project_no="P",
                service_number=1, created_at=now, pushed_at=now,
            ),
        )  # fmt: skip
        return rating

    def change(self, table: Table, identity: str, **values: Any) -> None:
        self.write(update(table).where(table.c.id == identity).values(**values))

    # ── replies ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def part(self, text: str = "1", *, code: str | None = "07", raw: str = CITIZEN, **more: Any) -> NewPart:
        """A deliver_sm of one part; `more` goes before."""
        self._reference += 1
        part = NewPart(
            id=new_id(), message_id=new_id(), sender=self.number(raw), link="mobile", our_number=f"106{code}",
            code=code, fingerprint=self.keyring.digest(f"{self._reference}".encode()), esm_class=0, data_coding=8,
            body=text.encode("utf-16-be"), number=1, total=1, assembly_key=None, received_at=self.clock.now(),
        )  # fmt: skip
        return part._replace(**more)

    def receive(self, part: NewPart, *, confirmed: frozenset[str] = frozenset()) -> Received:
        return self.door.submit(StoreInbound(part, WINDOW, confirmed)).result(WAIT)

    def stored(self, text: str = "1", **more: Any) -> str:
        """An unread reply's id."""
        return self.receive(self.part(text, **more)).message_id

    def take(self, message_id: str, heard: Heard, *, bare: bool = False) -> Taken:
        command = TakeReply(message_id, heard, bare, self.clock.now(), self.rules)
        return self.door.submit(command).result(WAIT)

    def reply(self, heard: Heard, *, bare: bool = False, **more: Any) -> Taken:
        """A reply comes in and is taken at once."""
        return self.take(self.stored(heard.text or "", **more), heard, bare=bare)

    # ── what came of it ───────────────────────────────────────────────────────────────────────────────────────────────

    def rows(self, table: Table, **where: Any) -> list[Any]:
        query = select(table)
        for name, value in where.items():
            query = query.where(table.c[name] == value)
        if "id" in table.c and table is not evaluations:
            query = query.order_by(table.c.id)
        if table is evaluations:
            query = query.order_by(table.c.subject_id, table.c.assess_number)
        with self.database.read_engine.connect() as connection:
            return list(connection.execute(query))

    def one(self, table: Table, **where: Any) -> Any:
        [row] = self.rows(table, **where)
        return row

    def sent(self) -> list[Any]:
        """Our SMS in the queue, oldest first."""
        return self.rows(messages, direction="out")

    def due(self) -> list[datetime]:
        return [row.not_before for row in self.rows(outbox)]
