"""From a file and the environment to settings: defaults, precedence, secrets, paths, and every error at once."""

from __future__ import annotations

from datetime import time, timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from config.errors import ConfigurationError
from config.loading import load
from config.settings import IvrSection, PushCalls, Settings
from config.values import Address


def written(folder: Path, text: str) -> Path:
    file = folder / "huiyin.toml"
    file.write_text(text, encoding="utf-8")
    return file


def errors_of(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[tuple[str, str]]:
    with pytest.raises(ConfigurationError) as caught:
        load(written(folder, text), environ or {})
    return list(caught.value.errors)


def error_of(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    [(key, sentence)] = errors_of(folder, text, environ)
    return f"{key}: {sentence}"


# ── what works ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_file_is_a_valid_configuration(tmp_path: Path) -> None:
    settings = load(written(tmp_path, ""), {})
    assert settings.ivr == Settings().ivr
    assert settings.ivr.listen == Address("127.0.0.1", 4573)
    assert settings.centre.url == ""
    assert settings.directory == tmp_path
    assert settings.privacy.key_file == tmp_path / "var/privacy.key"


def test_the_contract_s_sample(tmp_path: Path) -> None:
    """The sample of the outside contract, key by key."""
    settings = load(
        written(
            tmp_path,
            """
            [database]
            url = "sqlite:///var/huiyin.db"
            [ivr]
            listen = "127.0.0.1:4573"
            allow = ["127.0.0.1"]
            tries = 2
            digit_timeout = 8.0
            max_calls = 6000
            [rating]
            keys = { 1 = 5, 2 = 4, 3 = 3, 4 = 2, 5 = 1 }
            [sms]
            service_number = "106912345"
            signature = "临夏12345"
            extension_digits = 2
            [[sms.links]]
            name = "mobile"
            carriers = ["mobile"]
            host = "127.0.0.1"
            port = 2775
            system_id = "huiyin"
            password = "…"
            tls = false
            window = 10
            segments_per_second = 50.0
            [schedule]
            invite_after = "1m"
            reminder_after = "24h"
            default_after_working_days = 5
            late_window = "30d"
            max_age = "24h"
            sending_hours = ["08:30", "21:00"]
            daily_cap = 3
            [centre]
            profile = "plain"
            url = "http://127.0.0.1:9000/api"
            secret = "…"
            batch = 100
            keypad_reason_hold = "90s"
            reason_hold = "10m"
            [console]
            listen = "127.0.0.1:8345"
            [health]
            listen = "127.0.0.1:8346"
            [privacy]
            key_file = "var/privacy.key"
            retention_days = 1095
            """,
        ),
        {},
    )
    assert settings.sms.links[0].carriers == ("mobile",)
    assert settings.schedule.sending_hours == (time(8, 30), time(21))
    assert settings.schedule.late_window == timedelta(days=30)
    assert settings.centre.keypad_reason_hold == timedelta(seconds=90)
    assert settings.centre.push_calls is None
    assert settings.rating.key_map.version == "1=5,2=4,3=3,4=2,5=1"


@pytest.mark.parametrize(
    ("written_as", "seconds"),
    [('"90s"', 90), ('"10m"', 600), ('"24h"', 86400), ('"30d"', 2592000), ("15", 15), ("0.5", 0.5), ('"250ms"', 0.25)],
)
def test_durations(tmp_path: Path, written_as: str, seconds: float) -> None:
    settings = load(written(tmp_path, f"[schedule]\ninvite_after = {written_as}"), {})
    assert settings.schedule.invite_after == timedelta(seconds=seconds)


def test_which_calls_are_pushed_goes_before_the_profile(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[centre]\npush_calls = "always"'), {})
    assert settings.centre.push_calls is PushCalls.ALWAYS


def test_tenths_of_seconds_are_written_as_numbers_or_durations(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[ivr]\ndigit_timeout = 5\nstore_timeout = "500ms"'), {})
    assert settings.ivr.digit_timeout == 5.0
    assert settings.ivr.store_timeout == 0.5


def test_networks_and_addresses(tmp_path: Path) -> None:
    text = '[ivr]\nlisten = "[::1]:0"\nallow = ["10.1.2.3", "10.2.0.7/16", "fd00::/8"]'
    ivr = load(written(tmp_path, text), {}).ivr
    assert ivr.listen == Address("::1", 0)
    assert str(ivr.listen) == "[::1]:0"
    assert ivr.allow == (IPv4Network("10.1.2.3/32"), IPv4Network("10.2.0.0/16"), IPv6Network("fd00::/8"))


def test_a_process_has_the_same_name_after_a_restart(tmp_path: Path) -> None:
    assert load(written(tmp_path, '[ivr]\nnode = "ivr-1"'), {}).ivr.node_name == "ivr-1"
    assert Settings().ivr.node_name == Settings().ivr.node_name
    assert Settings().ivr.node_name.endswith(":127.0.0.1:4573")


def test_processes_of_a_host_with_a_long_name_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for length in (64, 65, 66, 80, 253):
        monkeypatch.setattr("socket.gethostname", lambda length=length: "h" * length)
        names = [IvrSection(listen=Address("127.0.0.1", port)).node_name for port in (4573, 4574)]
        assert names == [IvrSection(listen=Address("127.0.0.1", port)).node_name for port in (4573, 4574)]
        assert len(set(names)) == 2
        assert all(len(name) <= 80 for name in names)


# ── the environment ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    environ = {
        "HUIYIN_IVR__TRIES": "3",
        "HUIYIN_IVR__ALLOW": '["10.0.0.0/8"]',
        "HUIYIN_RATING__KEYS": "{ 1 = 5, 9 = 1 }",
        "HUIYIN_RATING__ASK_REASON": "false",
        "HUIYIN_SOMETHING": "not a setting",
    }
    settings = load(written(tmp_path, '[ivr]\ntries = 1\nprompts = "x"'), environ)
    assert settings.ivr.tries == 3
    assert settings.ivr.prompts == "x"
    assert settings.ivr.allow == (IPv4Network("10.0.0.0/8"),)
    assert settings.rating.key_map.version == "1=5,9=1"
    assert settings.rating.ask_reason is False


def test_an_unknown_name_in_the_environment_is_an_error(tmp_path: Path) -> None:
    environ = {"HUIYIN_IVR__TRYS": "3", "HUIYIN_IVRR__TRIES": "3", "HUIYIN_IVR__ALLOW": "10.0.0.1"}
    assert dict(errors_of(tmp_path, "", environ)) == {
        "ivr.trys": "unknown key; did you mean tries?",
        "HUIYIN_IVRR__TRIES": "the environment names an unknown section; did you mean ivr?",
        "HUIYIN_IVR__ALLOW": 'is no TOML value; write lists and tables as in the file, such as ["10.0.0.5"]',
    }


# ── secrets ───────────────────────────────────────────────────────────────────────────────────────────────────────────

CENTRE = '[centre]\nurl = "http://127.0.0.1:9"\n'


def secret_of(settings: Settings) -> str | None:
    return settings.centre.secret.get_secret_value() if settings.centre.secret else None


def test_a_secret_in_each_of_its_places(tmp_path: Path) -> None:
    (tmp_path / "in-file").write_text("from a file\n")
    (tmp_path / "other").write_text("from another\n")
    in_file, named = written(tmp_path, CENTRE + 'secret = "in clear"'), CENTRE + 'secret_file = "in-file"'
    assert secret_of(load(in_file, {})) == "in clear"
    assert secret_of(load(written(tmp_path, named), {})) == "from a file"
    assert secret_of(load(written(tmp_path, named), {"HUIYIN_CENTRE__SECRET": "env"})) == "env"
    assert secret_of(load(written(tmp_path, named), {"HUIYIN_CENTRE__SECRET_FILE": "other"})) == "from another"
    assert secret_of(load(written(tmp_path, CENTRE + 'secret = "a"'), {"HUIYIN_CENTRE__SECRET_FILE": "other"})) == (
        "from another"
    )


def test_the_secret_of_a_link_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter2")
    text = """
    [sms]
    service_number = "106912345"
    signature = "临夏12345"
    [[sms.links]]
    name = "a"
    host = "127.0.0.1"
    system_id = "x"
    password_file = "pw"
    """
    assert load(written(tmp_path, text), {}).sms.links[0].password.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, "a\\u0000b") for key in ("system_id", "password", "system_type")]
    + [(key, "回音") for key in ("system_id", "system_type")],
)
def test_what_no_bind_can_hold_is_an_error(tmp_path: Path, key: str, value: str) -> None:
    link = {"name": "a", "host": "127.0.0.1", "system_id": "x", "password": "x", key: value}
    lines = "\n".join(f'{name} = "{given}"' for name, given in link.items())
    error = error_of(tmp_path, f'[sms]\nservice_number = "1"\nsignature = "临夏12345"\n[[sms.links]]\n{lines}')
    assert error.startswith(f"sms.links[0].{key}: h")
    assert ("ASCII" if value == "回音" else "NUL") in error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (CENTRE, "centre.secret: is missing"),
        (CENTRE + 'secret = ""', "centre.secret: is empty"),
        (CENTRE + 'secret_file = "nosuch"', "centre.secret_file: nosuch does not exist"),
        (CENTRE + 'secret_file = "empty"', "centre.secret_file: empty is empty"),
        (CENTRE + 'secret_file = ""', "centre.secret_file: must be the path"),
        (CENTRE + 'secret_file = "."', "centre.secret_file: . cannot be read"),
        (CENTRE + 'secret = "a"\nsecret_file = "empty"', "centre.secret_file: the secret is also in centre.secret"),
    ],
)
def test_what_a_secret_must_not_be(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "empty").write_text("\n")
    assert error_of(tmp_path, text).startswith(error)


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    text = (
        '[database]\nurl = "postgresql://u:sesame@127.0.0.1/x"\npassword = "sesame"\n'
        + CENTRE
        + 'secret = "sesame"\n[[sms.links]]\nname = "a"\npassword = ["sesame"]'
    )
    errors = errors_of(tmp_path, text)
    assert "sms.links[0].password" in dict(errors)
    assert "sesame" not in str(errors)
    settings = load(written(tmp_path, text.partition("[[")[0]), {})
    assert "sesame" not in repr(settings)
    assert "sesame" not in str(settings)
    assert settings.database.connection_url == "postgresql://u:sesame@127.0.0.1/x"


def test_a_database_password_given_apart_is_put_into_the_url(tmp_path: Path) -> None:
    text = '[database]\nurl = "postgresql+psycopg://u@127.0.0.1/x"\npassword = "p@ss"'
    assert load(written(tmp_path, text), {}).database.connection_url == "postgresql+psycopg://u:p%40ss@127.0.0.1/x"


# ── paths ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[privacy]\nkey_file = "k/p.key"\n[ivr]\nprompt_dir = "sounds"\n[centre]\nprofile = "my/centre.toml"'
    (tmp_path / "etc").mkdir()
    written(tmp_path / "etc", text)
    monkeypatch.chdir(tmp_path)
    settings = load(Path("etc/huiyin.toml"), {})
    assert settings.directory == tmp_path / "etc"
    assert settings.privacy.key_file == tmp_path / "etc/k/p.key"
    assert settings.ivr.prompt_directory == tmp_path / "etc/sounds"
    assert settings.centre.profile == str(tmp_path / "etc/my/centre.toml")


def test_absolute_paths_and_profile_names_stay(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[privacy]\nkey_file = "/etc/huiyin/p.key"'), {})
    assert settings.privacy.key_file == Path("/etc/huiyin/p.key")
    assert settings.centre.profile == "plain"


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[ivr]\ntrys = 3", "ivr.trys: unknown key; did you mean tries?"),
        ("[ivrr]\ntries = 3", "ivrr: unknown section; did you mean ivr?"),
        ("ivr = 3", "ivr: must be a table; write [ivr] and its keys below"),
        ("[ivr]\ntries = 0", "ivr.tries: must be at least 1"),
        ('[ivr]\ntries = "many"', "ivr.tries: must be a whole number"),
        ("[ivr]\nlisten = 4573", "ivr.listen: must be an address and a port"),
        ('[ivr]\nlisten = "localhost:4573"', "ivr.listen: 'localhost' is no IP address"),
        ('[ivr]\nlisten = "::1:4573"', "ivr.listen: write an IPv6 address in brackets"),
        ('[ivr]\nlisten = "127.0.0.1:70000"', "ivr.listen: must be an address and a port"),
        ("[ivr]\nallow = []", "ivr.allow: nobody could call"),
        ('[ivr]\nallow = ["10.0.0.300"]', "ivr.allow[0]: '10.0.0.300' is no address or network"),
        ('[ivr]\ncall_limit = "1s"', "ivr.call_limit: must be between 10s and 1h"),
        ('[ivr]\ncall_limit = "soon"', "ivr.call_limit: is no duration"),
        ("[ivr]\ncall_limit = true", "ivr.call_limit: must be a duration"),
        ("[ivr]\ncall_limit = -1", "ivr.call_limit: must be a duration between 0 and 100 years"),
        ("[ivr]\nlanguages = []", "ivr.languages: must have at least 1 entries"),
        ('[ivr]\nlanguages = ["en"]', 'ivr.languages: must hold "zh"'),
        ('[ivr]\nlanguages = ["zh", "../x"]', "ivr.languages[1]: '../x' is no language"),
        ('[ivr]\nprompts = "a b"', "ivr.prompts: must be a folder"),
        ('[ivr]\nprompts = "a&b"', "ivr.prompts: must be a folder"),
        ('[ivr]\nrepeat_keys = ["x"]', "ivr.repeat_keys: 'x' is no key"),
        ('[ivr]\nskip_key = "*"', "ivr.skip_key: * already repeats the question"),
        ("[rating]\nkeys = { 1 = 5, 2 = 5, 3 = 4 }", "rating.keys: keys 1 and 2 both mean 5"),
        ("[rating]\nkeys = { 0 = 5, 2 = 4 }", "rating.keys: key 0 is also in ivr.repeat_keys"),
        ('[ivr]\nskip_key = "5"', "rating.keys: key 5 is also in ivr.skip_key"),
        ('[ivr]\nskip_key = "9"\n[rating]\nkeys = { 8 = 5, 9 = 1 }', "rating.keys: key 9 is also in ivr.skip_key"),
        ('[rating]\nreasons = { 3 = ["314"] }', "rating.reasons: '3' is no bad level"),
        ('[rating]\nreasons = { 2 = ["2 9"] }', "rating.reasons: '2 9' is no reason code"),
        ('[rating]\nreasons = { 2 = ["209", "209"] }', "rating.reasons: level 2 has a code twice"),
        ('[database]\nurl = "mysql://x/y"', "database.url: mysql is not supported"),
        ('[database]\nurl = "sqlite://"', "database.url: a database in memory would lose every rating"),
        ('[database]\nurl = "huiyin.db"', "database.url: not a database URL"),
        ('[hotline]\narea_code = "62290"', "hotline.area_code: does not have the right form"),
        ('[centre]\nurl = "centre.example"', "centre.url: must be a web address"),
        ('[centre]\nurl = "https://a:b@c/"\nsecret = "s"', "centre.url: must hold no user or password"),
        ("[centre]\nbatch = 101", "centre.batch: must be at most 100"),
        ('[centre]\nretry_first = "10m"', "centre.retry_most: must be at least centre.retry_first"),
        ('[centre]\npush_calls = "x"', "centre.push_calls: must be one of 'without_case', 'always' or 'never'"),
        ('[centre]\nreconcile_at = "24:00"', "centre.reconcile_at: must be a time of day"),
        ('[schedule]\nsending_hours = ["21:00", "08:30"]', "schedule.sending_hours: the first time must be before"),
        ('[health]\nlisten = "127.0.0.1:8345"', "health.listen: 127.0.0.1:8345 is also console.listen"),
        ('[log]\nlevel = "loud"', "log.level: must be one of"),
    ],
)
def test_each_error_has_its_key_and_says_what_to_write(tmp_path: Path, text: str, error: str) -> None:
    assert error_of(tmp_path, text).startswith(error)


def test_a_reason_cannot_have_a_key_that_repeats(tmp_path: Path) -> None:
    found = errors_of(tmp_path, '[ivr]\nrepeat_keys = ["2"]\n[rating]\nkeys = { 8 = 5, 9 = 1 }')
    assert found == [
        ("rating.reasons.2", "key 2 offers 213 but is also in ivr.repeat_keys"),
        ("rating.reasons.1", "key 2 offers 115 but is also in ivr.repeat_keys"),
    ]


def test_every_error_at_once(tmp_path: Path) -> None:
    found = errors_of(
        tmp_path,
        """
        [databas]
        url = 1
        [ivr]
        tries = "x"
        repeat_keys = ["0", "q"]
        [rating]
        keys = { 1 = 5, 2 = 5, x = 9 }
        [centre]
        batch = 1000
        [console]
        listen = "127.0.0.1:1"
        [health]
        listen = "127.0.0.1:1"
        """,
        {"HUIYIN_LOG__LEVEL": "loud", "HUIYIN_CENTRE__SECRET_FILE": "nosuch"},
    )
    assert [key for key, _ in found] == [
        "centre.secret_file",
        "databas",
        "ivr.tries",
        "ivr.repeat_keys",
        "rating.keys",
        "rating.keys",
        "rating.keys",
        "centre.batch",
        "log.level",
        "health.listen",
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[ivr\n", "is no TOML"),
        (b'[ivr]\nnode = "\xff"', "is not UTF-8"),
        (b"[ivr]\ntries = 1\ntries = 2", "is no TOML"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "huiyin.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=sentence):
        load(file, {})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nosuch\.toml does not exist"):
        load(tmp_path / "nosuch.toml", {})


def test_settings_made_by_hand_are_checked_too() -> None:
    with pytest.raises(ValueError, match="a key can mean one thing"):
        Settings.model_validate({"ivr": {"skip_key": "5"}})


def test_sections_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().ivr.tries = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("https://x.example/{phone}", "is no field"),
        ("https://x.example/{call", "brace without its partner"),
        ("https://x.example/{call!r}", "is no field"),
        ("javascript:alert({call})", "must begin with http"),
        ("ftp://x.example/{call}", "must begin with http"),
        ("https://{call}/x", "must begin with http"),
        ("https://x.example{call}/x", "names a field in the host"),
        ("https://x.example/a b", "blank"),
    ],
)
def test_a_link_template_that_cannot_be_right_is_told(tmp_path: Path, template: str, words: str) -> None:
    file = tmp_path / "huiyin.toml"
    file.write_text(f'[console]\nrecording_url = "{template}"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(file, {})
    [line] = caught.value.lines()
    assert "console.recording_url" in line
    assert words in line


@pytest.mark.parametrize("template", ["", "http://x.example/fixed", "https://x.example/?c={call}&{{x}}&n={case_no}"])
def test_a_link_template_that_is_right_is_taken(tmp_path: Path, template: str) -> None:
    file = tmp_path / "huiyin.toml"
    file.write_text(f'[console]\ncase_url = "{template}"\n', encoding="utf-8")
    assert load(file, {}).console.case_url == template
