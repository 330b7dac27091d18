"""From a stored reply to rating, evaluation, answers and queue, on SQLite and on PostgreSQL."""

from __future__ import annotations

from intake.conversation import Outcome
from models.tables import audit, codes, evaluations, feed, invitations, messages, outbox, ratings
from tests.intake.replying import KEYS, Replying, level


def test_a_reply_becomes_one_evaluation_of_the_case(record: Replying) -> None:
    case = record.case(task_code="T1", task_name="修路", agent="3001", area_code="622901")
    invitation = record.invite(case)
    taken = record.reply(level(4, "很快"))
    assert (taken.outcome, taken.queue, taken.pushes, taken.answers) == (Outcome.RATED, None, True, False)
    rating, evaluation = record.one(ratings), record.one(evaluations)
    message = record.one(messages)
    now = record.clock.now()
    assert (rating.message_id, rating.invitation_id, rating.call_subject_id) == (message.id, invitation, None)
    assert (rating.channel, rating.origin, rating.raw_input, rating.key_map) == (
        "sms",
        "citizen",
        "2，很快",
        KEYS.version,
    )
    assert (rating.satisfaction, rating.comment, rating.late, rating.rated_at) == (4, "很快", False, now)
    assert (evaluation.subject_id, evaluation.assess_number, evaluation.rating_id) == (case, 1, rating.id)
    assert (evaluation.effective, evaluation.satisfaction, evaluation.channel) == (True, 4, "sms")
    assert (evaluation.project_no, evaluation.service_number, evaluation.agent) == ("GD-1", 1, "3001")
    assert (evaluation.dept_code, evaluation.dept_name, evaluation.task_code) == ("X", "住建局", "T1")
    assert (evaluation.area_code, evaluation.service_name, evaluation.comment) == ("622901", "12345热线", "很快")
    assert evaluation.assess_time == now
    waiting = record.one(outbox)
    assert (waiting.evaluation_id, waiting.not_before, waiting.state, waiting.held_by) == (
        evaluation.id,
        now,
        "waiting",
        None,
    )
    ended = record.one(invitations)
    assert (ended.state, ended.rating_id, ended.ended_at, ended.due_at) == ("rated", rating.id, now, None)
    assert (ended.number_sealed, ended.number_hash) == (None, None)
    assert record.one(codes).ended_at == now
    assert (message.state, message.text, message.outcome, message.satisfaction) == ("read", "2，很快", "rated", 4)
    assert (message.invitation_id, message.why, message.queue) == (invitation, "R6-digit", None)
    fed = record.one(feed)
    assert (fed.kind, fed.subject_id, fed.assess_number) == ("evaluation", case, 1)
    assert [(row.action, row.actor, row.subject_id) for row in record.rows(audit)] == [("rating.stored", "sms", case)]
