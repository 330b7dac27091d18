"""Routing: whose number, which link, when."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.carriers import CarriersInvalid, load_carriers
from config.settings import SmsLink
from models.clock import SHANGHAI
from sms.routing import Routes, SendingHours

HOURS = SendingHours(time(8, 30), time(21, 0))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("moment", "opening", "closing", "next_day"),
    [
        ("2026-11-22T08:29:59", "2026-11-22T08:30", "2026-11-22T21:00", "2026-11-22T08:30"),
        ("2026-11-22T00:00:00", "2026-11-22T08:30", "2026-11-22T21:00", "2026-11-22T08:30"),
        ("2026-11-22T00:30:00", "2026-11-22T08:30", "2026-11-22T21:00", "2026-11-22T08:30"),
        ("2026-11-22T08:30:00", "2026-11-22T08:30", "2026-11-22T21:00", "2026-11-23T08:30"),
        ("2026-11-22T20:59:59", "2026-11-22T20:59:59", "2026-11-22T21:00", "2026-11-23T08:30"),
        ("2026-11-22T21:00:00", "2026-11-23T08:30", "2026-11-23T21:00", "2026-11-23T08:30"),
        ("2026-12-31T23:30:00", "2027-01-01T08:30", "2027-01-01T21:00", "2027-01-01T08:30"),
    ],
)
def test_sending_hours(moment: str, opening: str, closing: str, next_day: str) -> None:
    assert HOURS.opening(at(moment)) == at(opening)
    assert HOURS.closing(at(moment)) == at(closing)
    assert HOURS.next_day(at(moment)) == at(next_day)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)))
def test_the_opening_is_never_outside_the_hours_and_never_earlier(moment: datetime) -> None:
    moment = moment.replace(tzinfo=SHANGHAI)
    opening = HOURS.opening(moment)
    assert moment <= opening <= moment + timedelta(hours=12)
    assert HOURS.first <= opening.astimezone(SHANGHAI).time() < HOURS.last


@pytest.mark.parametrize(
    ("number", "carrier"),
    [
        ("+8613800000001", "mobile"),
        ("+8613490000001", "telecom"),
        ("+8613400000001", "mobile"),
        ("+8618600000001", "unicom"),
        ("+8619200000001", "broadcast"),
        ("+8617040000001", "unicom"),
        ("+85291234567", ""),
    ],
)
def test_the_prefix_names_the_carrier(number: str, carrier: str) -> None:
    assert load_carriers().of(number) == carrier


def test_a_site_s_file_comes_first_and_its_longest_prefix_counts(tmp_path: Path) -> None:
    file = tmp_path / "carriers.csv"
    file.write_text("# moved\n13800000001,unicom\n138,telecom\n\n", encoding="utf-8")
    carriers = load_carriers(file)
    assert carriers.of("+8613800000001") == "unicom"
    assert carriers.of("+8613800000002") == "telecom"
    assert carriers.of("+8613900000002") == "mobile"


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "carriers.csv"
    file.write_text("138\nabc,mobile\n139,nobody\n137,mobile\n", encoding="utf-8")
    with pytest.raises(CarriersInvalid) as raised:
        load_carriers(file)
    assert [key for key, _ in raised.value.errors] == [f"sms.carriers_file, line {n}" for n in (1, 2, 3)]


def link(name: str, carriers: tuple[str, ...], service: str = "1069", digits: int = 2) -> SmsLink:
    return SmsLink.model_validate(
        {
            "name": name,
            "carriers": carriers,
            "host": "127.0.0.1",
            "system_id": "x",
            "password": SecretStr("x"),
            "service_number": service,
            "extension_digits": digits,
        }
    )


def test_links_take_their_carriers_the_unknown_and_what_nobody_serves() -> None:
    routes = Routes([link("a", ("mobile",)), link("b", ("unicom", "mobile"))])
    assert routes.claims("a") == ("mobile", "", "telecom", "broadcast")
    assert routes.claims("b") == ("unicom", "mobile", "", "telecom", "broadcast")


def test_a_carrier_has_extensions_where_every_link_that_may_take_it_has() -> None:
    routes = Routes([link("a", ("mobile",)), link("b", ("unicom",), digits=0)])
    assert routes.extensions("mobile")
    assert not routes.extensions("unicom")
    assert not routes.extensions("telecom"), "either may take it"


def test_partners_share_the_service_number() -> None:
    routes = Routes([link("b", ("mobile",)), link("a", ("mobile",)), link("c", ("unicom",), service="1068")])
    assert routes.partners("b") == ("b", "a")
    assert routes.group("b") == routes.group("a") == "a"
    assert routes.group("c") == "c"


def test_another_carrier_s_link_is_one_that_was_not_tried() -> None:
    routes = Routes([link("a", ("mobile",)), link("b", ("mobile", "unicom"))])
    assert routes.other_carrier("mobile", "a") == "unicom"
    assert routes.other_carrier("unicom", "b") is None, "what the link itself serves was tried with it"
    assert Routes([link("a", ("mobile",))]).other_carrier("mobile", "a") is None
