"""`huiyin check` for the SMS channel: tables, texts and their approval, each error with its key."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.x509 import load_pem_x509_certificates

from config.carriers import load_carriers
from config.errors import ConfigurationError
from config.receipts import load_receipt_table
from config.settings import Settings, SmsLink
from config.texts import Texts, load_texts
from sms.lanes import text_book
from sms.texts import Approval, text_problems

__all__ = ["sms_problems", "sms_report"]

_MARK = {True: "approved", False: "not in approved"}


def sms_problems(settings: Settings) -> list[str]:
    """One line an error of what the SMS channel reads beside the configuration; nothing where no link is configured."""
    sms = settings.sms
    if not sms.links:
        return []
    found: list[str] = []
    for key, load, path in (
        ("carriers_file", load_carriers, sms.carriers_file),
        ("receipt_table", load_receipt_table, sms.receipt_table),
    ):
        try:
            load(settings.directory / path if path else None)
        except ConfigurationError as error:
            found += _under(f"sms.{key}", error)
    for link in sms.links:
        if not link.password.get_secret_value().isascii():
            found.append(f"sms.links.{link.name}.password: has a sign that is not ASCII; no bind can hold it")
        if not link.tls:
            # Whoever names an authority means TLS; without it the password would go in clear.
            given = (("tls_ca", link.tls_ca), ("tls_name", link.tls_name))
            found += [f"sms.links.{link.name}.{key}: means nothing without tls = true" for key, value in given if value]
        elif link.tls_ca is not None:
            try:
                load_pem_x509_certificates((settings.directory / link.tls_ca).read_bytes())
            except (OSError, ValueError) as error:
                found.append(f"sms.links.{link.name}.tls_ca: no certificates in PEM form can be read from it: {error}")
    try:
        texts = _texts(settings)
    except ConfigurationError as error:
        return [*found, *_under("sms.texts", error)]
    if settings.rating.ask_reason:
        found += [f"{key}: {sentence}" for key, sentence in text_problems(texts, settings.rating.reason_codes)]
    if not found and sms.require_approved:
        found += _not_approved(settings, texts)
    return found


def _under(key: str, error: ConfigurationError) -> list[str]:
    return [line if line.startswith(key) else f"{key}: {line}" for line in error.lines()]


def _texts(settings: Settings) -> Texts:
    sms = settings.sms
    return load_texts(settings.ivr.languages, settings.directory / sms.texts if sms.texts else None)


def _links(settings: Settings, texts: Texts) -> Iterator[tuple[SmsLink, tuple[Approval, ...]]]:
    for link in settings.sms.links:
        filled = settings.sms.of_link(link)
        yield filled, text_book(filled, settings, texts).approvals()


def _not_approved(settings: Settings, texts: Texts) -> list[str]:
    return [
        f"sms.links.{link.name}.approved: {_name(text)} is not approved; submit it to the carrier and add "
        f'"{text.digest}": {text.text}'
        for link, texts_of_link in _links(settings, texts)
        for text in texts_of_link
        if text.digest not in link.approved
    ]


def _name(text: Approval) -> str:
    level = f", {text.level.chinese}" if text.level is not None else ""
    return f"{text.kind.value} ({text.language}{level})"


def sms_report(settings: Settings) -> list[str]:
    """What goes out over each link: every text as the citizen sees it, its longest form and its digest."""
    if not settings.sms.links:
        return []
    texts = _texts(settings)
    lines = [f"no texts of its own, {name} is written in zh" for name in sorted(texts.unwritten)]
    for link, texts_of_link in _links(settings, texts):
        lines.append(f"texts of link {link.name} (as submitted to the carrier; {{…}} differs from SMS to SMS):")
        for text in texts_of_link:
            longest = text.longest
            plural = "" if longest.segments == 1 else "s"
            lines.append(
                f"  {text.digest}  {longest.segments} segment{plural}, {longest.units} characters at most, "
                f"{_MARK[text.digest in link.approved]}  {_name(text)}"
            )
            lines.append(f"    {text.text}")
    return lines
