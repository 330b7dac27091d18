"""What /metrics and /readyz show of the SMS channel. No label and no value tells who wrote or was written to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from intake.figures import SmsFigures
from server.health import Condition, State
from sms.link import LinkState
from sms.pdu import status_name
from sms.server import SmsServer

__all__ = ["sms_condition", "sms_source"]


def sms_source(sms: SmsServer, figures: Callable[[], SmsFigures]) -> Callable[[], Iterable[Metric]]:
    """The channel's metrics; `figures` is what a tick has read of the database."""

    def source() -> Iterable[Metric]:
        yield from _links(sms)
        yield from _sender(sms)
        yield _by("sms_replies", "Replies read, by outcome.", "outcome", sms.inbox.statistics.outcomes.copy().items())
        yield _by(
            "sms_inbound",
            "Citizens' messages stored, by what they were.",
            "kept",
            sms.inbox.statistics.kept.copy().items(),
        )
        now = figures()
        yield GaugeMetricFamily("huiyin_sms_queued", "SMS that may go and wait for a link.", value=now.queued)
        yield GaugeMetricFamily(
            "huiyin_sms_queue_oldest_seconds", "How long the oldest of them waits.", value=now.oldest.total_seconds()
        )
        yield GaugeMetricFamily("huiyin_sms_unknown", "SMS sent whose fate nobody knows.", value=now.unknown)
        yield GaugeMetricFamily("huiyin_sms_invitations_due", "Invitations due for an SMS.", value=now.due)
        yield GaugeMetricFamily("huiyin_sms_unread", "Replies stored and not read yet.", value=now.unread)
        yield GaugeMetricFamily("huiyin_sms_receipts_kept", "Receipts that found no message yet.", value=now.receipts)
        to_see = GaugeMetricFamily(
            "huiyin_sms_to_see", "Replies that a person has to look at, by reason.", labels=["reason"]
        )
        for reason, count in now.to_see.items():
            to_see.add_metric([reason], count)
        yield to_see

    return source


def _links(sms: SmsServer) -> Iterable[Metric]:
    gauges = {
        "up": GaugeMetricFamily("huiyin_sms_link_up", "1: bound.", labels=["link"]),
        "rests": GaugeMetricFamily("huiyin_sms_link_rests", "1: given nothing, see the log.", labels=["link"]),
        "window": GaugeMetricFamily("huiyin_sms_link_window_used", "Submits without an answer.", labels=["link"]),
        "rate": GaugeMetricFamily("huiyin_sms_link_rate", "Segments a second allowed now.", labels=["link"]),
    }
    submits = CounterMetricFamily("huiyin_sms_submits", "Segments by how they ended.", labels=["link", "result"])
    statuses = CounterMetricFamily(
        "huiyin_sms_submit_errors", "Segments answered with an error, by status.", labels=["link", "status"]
    )
    deliveries = CounterMetricFamily("huiyin_sms_deliveries", "deliver_sm received, receipts too.", labels=["link"])
    noticed = CounterMetricFamily(
        "huiyin_sms_link_oddities", "What the SMSC should not have sent, by kind.", labels=["link", "kind"]
    )
    binds = CounterMetricFamily("huiyin_sms_link_binds", "Binds that the SMSC took.", labels=["link"])
    slowdowns = CounterMetricFamily("huiyin_sms_link_slowdowns", "Times the SMSC was too busy.", labels=["link"])
    for link in sms.links:
        lane, counts = sms.sender.lanes[link.name], link.statistics
        gauges["up"].add_metric([link.name], link.state is LinkState.UP)
        gauges["rests"].add_metric([link.name], lane.rests_until is not None)
        gauges["window"].add_metric([link.name], link.in_flight)
        gauges["rate"].add_metric([link.name], link.rate)
        for result, count in counts.submits.copy().items():
            submits.add_metric([link.name, result.value], count)
        for status, count in counts.statuses.copy().items():
            statuses.add_metric([link.name, status_name(status)], count)
        deliveries.add_metric([link.name], counts.deliveries)
        kinds: Counter[str] = Counter()
        for (kind, _), count in counts.noticed.copy().items():
            kinds[kind] += count
        for kind, count in kinds.items():
            noticed.add_metric([link.name, kind], count)
        binds.add_metric([link.name], counts.binds)
        slowdowns.add_metric([link.name], counts.slowdowns)
    yield from gauges.values()
    yield from (submits, statuses, deliveries, noticed, binds, slowdowns)


def _sender(sms: SmsServer) -> Iterable[Metric]:
    counts = sms.sender.statistics
    handed = CounterMetricFamily(
        "huiyin_sms_messages", "SMS of ours, by kind and how handing over ended.", labels=["kind", "outcome"]
    )
    for (kind, outcome), count in counts.messages.copy().items():
        handed.add_metric([kind, outcome], count)
    yield handed
    yield _by("sms_failures", "SMS that failed at the submit, by reason.", "reason", counts.failures.copy().items())
    yield _by("sms_receipts", "Receipts matched, by class.", "class", counts.receipts.copy().items())


def _by(name: str, sentence: str, label: str, counts: Iterable[tuple[str, int]]) -> Metric:
    family = CounterMetricFamily(f"huiyin_{name}", sentence, labels=[label])
    for value, count in counts:
        family.add_metric([str(value)], count)
    return family


def sms_condition(sms: SmsServer) -> Condition:
    """Links that are down or rest; the ratings that came are safe whatever is said here."""
    told = []
    for link in sms.links:
        lane = sms.sender.lanes[link.name]
        if lane.rests_until is not None:
            told.append(f"link {link.name} rests: {lane.rests_because}")
        elif link.state is not LinkState.UP:
            told.append(f"link {link.name} is not up: {link.problem or link.state.value}")
        elif link.trouble:
            told.append(f"link {link.name}: the SMSC refuses what it gets, {link.trouble}; it goes again later")
    return Condition(State.DEGRADED, "; ".join(told)) if told else Condition(State.OK)
