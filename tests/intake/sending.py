"""What tests of the outgoing side share: invitations and messages in a database, and each step of a message's way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Executable, select

from config.receipts import ReceiptClass
from intake.answers import Fate, GivenBack, Outcome, SegmentAnswer, SettleMessages, StoreAnswers
from intake.claims import Claimed, ClaimMessages, HandedSegment, Terms, ToSend, Unsendable
from intake.outgoing import NewMessage, StoredNumber, queue_messages
from intake.receipts import Noted, NoteReceipts, ReceiptFacts, ReceiptRules
from models.clock import TurnedClock
from models.door import Bulk, Door, Unit
from models.ids import new_id
from models.privacy import Keyring
from models.tables import calls, cases, invitation_members, invitations, messages, segments
from models.terms import MessageKind, MessageState
from tests.moments import START

T = TypeVar("T")
WAIT = 10
OWNER = "here/b1"
KEYS = "1=5,2=4,3=3,4=2,5=1"
SERVICE = "106912345"
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

_INVITATION = (
    "id",
    "kind",
    "state",
    "reason",
    "number_kind",
    "number_sealed",
    "number_hash",
    "number_tail",
    "number_key_id",
    "lang",
    "key_map",
    "first_asked_at",
    "asked_by",
    "due_at",
    "not_after",
    "created_at",
    "changed_at",
    "muted",
    "group_key",
)


def next_day(moment: datetime) -> datetime:
    """08:30 of the day after START."""
    return START.replace(hour=8, minute=30) + DAY


RULES = ReceiptRules(next_day, lambda carrier, over: "unicom" if over == "m" else None)
TERMS = Terms(OWNER, 2 * MINUTE, 7 * DAY, lambda moment: moment)


class Sending:
    """A database, and what happens to messages in it."""

    def __init__(self, door: Door, keyring: Keyring, clock: TurnedClock) -> None:
        self.door = door
        self.keyring = keyring
        self.clock = clock
        self._ids = 0

    def write(self, function: Callable[[Unit], T]) -> T:
        return self.door.write(function).result(WAIT)

    def change(self, statement: Executable) -> None:
        self.write(lambda unit: unit.execute(statement) and None)

    def queued(self, *new: NewMessage) -> list[bool]:
        return self.write(lambda unit: queue_messages(unit, new, START))

    # ── what is there ─────────────────────────────────────────────────────────────────────────────────────────────────

    def number(self, n: int = 1, kind: str = "mobile") -> StoredNumber:
        sealed = self.keyring.seal(f"+86138{n:08d}")
        return StoredNumber(kind, sealed.sealed, sealed.hash, sealed.tail, sealed.key_id)

    def hash(self, n: int = 1) -> bytes:
        return self.keyring.hash(f"+86138{n:08d}")

    def invitation(self, n: int | None = 1, *, case_nos: Sequence[str] = (), call: bool = True, **values: Any) -> str:
        """An invitation that waits, due a minute ago, with its call or its cases."""
        identity = new_id()
        number = self.number(n) if n is not None else StoredNumber(None, None, None, None, None)
        row = {
            "id": identity,
            "kind": "case" if case_nos else "call",
            "state": "waiting",
            **{f"number_{name}": value for name, value in number._asdict().items()},
            "lang": "zh",
            "key_map": KEYS,
            "due_at": START - MINUTE,
            "not_after": START + 20 * HOUR,
            "created_at": START,
            "changed_at": START,
            "muted": False,
            **values,
        }

        def fill(unit: Any) -> None:
            unit.insert(Bulk(invitations, _INVITATION), [tuple(row.get(name) for name in _INVITATION)])
            subjects = []
            if call and not case_nos:
                subjects.append(new_id())
                unit.insert(
                    Bulk(calls, ("subject_id", "call_key", "outcome", "source", "ended_at", "created_at")),
                    [(subjects[0], subjects[0], "no_input", "ivr", START - 2 * MINUTE, START)],
                )
            for place, case_no in enumerate(case_nos):
                subjects.append(new_id())
                unit.insert(
                    Bulk(cases, ("subject_id", "case_no", "service_number", "stub", "closed_at", "created_at")),
                    [(subjects[-1], case_no, 1, False, START - DAY + place * HOUR, START)],
                )
            unit.insert(Bulk(invitation_members), [(identity, subject) for subject in subjects])

        self.write(fill)
        return identity

    def new(self, n: int = 1, kind: MessageKind = MessageKind.REMINDER, **values: Any) -> NewMessage:
        identity = new_id()
        fresh = NewMessage(
            id=identity,
            kind=kind,
            once_key=f"{kind.value}:{identity}",
            number=self.number(n),
            invitation_id=None,
            code="07",
            lang="zh",
            fields={"keys": KEYS},
            carrier="mobile",
            not_before=START,
            not_after=START + 20 * HOUR,
        )
        return replace(fresh, **values)

    def queue(self, n: int = 1, kind: MessageKind = MessageKind.INVITATION, *, parts: int = 1, **values: Any) -> str:
        """A queued message, with an invitation of its own unless one is given; of so many segments."""
        if "invitation_id" not in values:
            state = "waiting" if kind is MessageKind.INVITATION else "asked"
            values["invitation_id"] = self.invitation(n, state=state, due_at=None)
        message = self.new(n, kind, **{"fields": {"keys": KEYS, "parts": str(parts)}, **values})
        assert self.queued(message) == [True]
        return message.id

    def rows(self, table: Any) -> list[Any]:
        with self.door.database.read_engine.connect() as connection:
            return list(connection.execute(select(table)))

    def message(self, identity: str) -> Any:
        with self.door.database.read_engine.connect() as connection:
            return connection.execute(select(messages).where(messages.c.id == identity)).one()

    def invitation_of(self, identity: str) -> Any:
        with self.door.database.read_engine.connect() as connection:
            return connection.execute(
                select(invitations).where(invitations.c.id == self.message(identity).invitation_id)
            ).one()

    def segments(self, identity: str) -> list[Any]:
        with self.door.database.read_engine.connect() as connection:
            return list(
                connection.execute(
                    select(segments).where(segments.c.message_id == identity).order_by(segments.c.number)
                )
            )

    def states(self, identity: str) -> list[str]:
        return [row.state for row in self.segments(identity)]

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────────

    def claim(
        self,
        link: str = "m",
        carriers: tuple[str, ...] = ("mobile", ""),
        limit: int = 64,
        *,
        terms: Terms = TERMS,
        service: str = SERVICE,
        segmented: int | None = None,
        held: bool = False,
    ) -> list[Claimed]:
        def prepare(message: ToSend) -> Claimed:
            if "never" in message.fields:
                raise Unsendable(message.fields["never"])
            parts = segmented or int(message.fields.get("parts", "1"))
            return Claimed(
                message.text or f"text of {message.kind}",
                service + message.code,
                message.reference or 7,
                tuple(HandedSegment(number, f"{number} of {parts}") for number in range(1, parts + 1)),
            )

        command = ClaimMessages(link, carriers, limit, self.clock.now(), terms, prepare, held)
        return self.door.submit(command).result(WAIT)

    def hand(self, identity: str, **options: Any) -> Claimed:
        """Claims until this message is handed."""
        for claimed in self.claim(**options):
            if claimed.id == identity:
                return claimed
        raise AssertionError("it was not handed")

    def store(
        self,
        answers: Sequence[SegmentAnswer] = (),
        outcomes: Sequence[Outcome] = (),
        back: Sequence[GivenBack] = (),
        owner: str = OWNER,
    ) -> Noted:
        command = StoreAnswers(tuple(answers), tuple(outcomes), tuple(back), owner, self.clock.now(), RULES)
        return self.door.submit(command).result(WAIT)

    def segment_answer(self, message: Claimed, number: int, fate: Fate, smsc_id: str | None = None) -> SegmentAnswer:
        return SegmentAnswer(message.id, number, fate, self.clock.now(), smsc_id)

    def answer(self, message: Claimed, *ids: str, fates: Sequence[Fate] = (), owner: str = OWNER) -> Noted:
        """Every segment's answer, and what becomes of the message by them. Ids for those that were accepted."""
        fates = fates or [Fate.ACCEPTED] * len(message.segments)
        given = iter(ids)
        answers = [
            self.segment_answer(message, segment.number, fate, next(given) if fate is Fate.ACCEPTED else None)
            for segment, fate in zip(message.segments, fates, strict=True)
        ]
        outcome: tuple[MessageState, str | None, datetime | None] | None = (MessageState.SENT, None, None)
        if Fate.FAILED in fates:
            outcome = (MessageState.FAILED, "ESME_RINVDSTADR", None)
        elif Fate.UNKNOWN in fates:
            outcome = (MessageState.UNKNOWN, None, self.clock.now() + 10 * MINUTE)
        elif Fate.NOT_SENT in fates:
            outcome = None
        if outcome is None:
            return self.store(answers, back=[GivenBack(message.id)], owner=owner)
        return self.store(
            answers, [Outcome(message.id, *outcome, message.number_hash, several=message.total > 1)], owner=owner
        )

    def sent(self, n: int = 1, *ids: str, kind: MessageKind = MessageKind.INVITATION, **values: Any) -> str:
        """A message that the SMSC has taken."""
        identity = self.queue(n, kind, parts=len(ids), **values)
        self.answer(self.hand(identity), *ids)
        return identity

    def lose(self, n: int = 1, parts: int = 1, **values: Any) -> str:
        """A message whose answers never came."""
        identity = self.queue(n, parts=parts, **values)
        self.answer(self.hand(identity), fates=[Fate.UNKNOWN] * parts)
        return identity

    def fact(
        self, kind: ReceiptClass, *forms: str, n: int | None = 1, links: tuple[str, ...] = ("m",), **values: Any
    ) -> ReceiptFacts:
        whole = ReceiptFacts(
            kind,
            values.pop("text", kind.value.upper()),
            links,
            forms,
            self.hash(n) if n is not None else None,
            values.pop("our_number", SERVICE + "07"),
            values.pop("reference", None),
            values.pop("at", self.clock.now()),
        )
        assert not values
        return whole

    def receipts(self, *facts: ReceiptFacts) -> Noted:
        return self.door.submit(NoteReceipts(facts, self.clock.now(), RULES)).result(WAIT)

    def receipt(self, kind: ReceiptClass, *forms: str, **values: Any) -> Noted:
        return self.receipts(self.fact(kind, *forms, **values))

    def settle(self, *, restarted: bool = False, owner: str = OWNER, node: str = "here") -> int:
        command = SettleMessages(self.clock.now(), 10 * MINUTE, owner, node, RULES, restarted=restarted)
        return self.door.submit(command).result(WAIT)
