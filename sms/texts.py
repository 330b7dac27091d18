"""What our SMS say: templates filled in, signed, counted, and listed for a carrier to approve.

Rules kept here, all pure:

* A `TextBook` is one link's texts: its signature (ours or the carrier's, in front or behind) and how it cuts long ones.
  The signature counts whoever puts it on.
* The options come from the key map, the reasons from the codes offered, so text and parser cannot differ. The letter of
  a reason is its place: A, B, C.
* A carrier approves a text as it is sent, with names in braces for what differs from citizen to citizen. The digest of
  that, signature included, is what `approved` of a link lists; a changed word changes it.
* Nothing of a citizen but a case's number can stand in a text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from config.keymap import KeyMap
from config.texts import FIELDS, Language, TextKind, Texts, template_fields
from config.wire import SignatureAt, SignedBy
from models.terms import Satisfaction
from sms.coding import Piece, Split, code_units, segment_count, segments

__all__ = [
    "Approval",
    "Length",
    "Signature",
    "SignatureAt",
    "SignedBy",
    "TextBook",
    "TextKind",
    "digest_of",
    "offered_reasons",
    "render",
    "text_problems",
]

LETTERS = "ABCDEFGH"
_DIGEST = 12


@dataclass(frozen=True, slots=True)
class Signature:
    """短信签名 of a link. `name` without its brackets; "": none."""

    name: str
    by: SignedBy = SignedBy.US
    at: SignatureAt = SignatureAt.FRONT

    @property
    def mark(self) -> str:
        return f"【{self.name}】" if self.name else ""

    def submitted(self, text: str) -> str:
        """What we hand to the link."""
        return self.shown(text) if self.by is SignedBy.US else text

    def shown(self, text: str) -> str:
        """What the citizen reads."""
        return self.mark + text if self.at is SignatureAt.FRONT else text + self.mark

    @property
    def reserved(self) -> tuple[int, int]:
        """Code units that the carrier adds, in front and behind."""
        if self.by is SignedBy.US:
            return 0, 0
        units = code_units(self.mark)
        return (units, 0) if self.at is SignatureAt.FRONT else (0, units)


@dataclass(frozen=True, slots=True)
class Length:
    """A text with its signature."""

    units: int
    segments: int


@dataclass(frozen=True, slots=True)
class Approval:
    """A text for the carrier to approve. `level`: of a reason question, which has one text a level."""

    kind: TextKind
    language: str
    level: Satisfaction | None
    text: str
    digest: str
    longest: Length


def render(template: str, fields: Mapping[str, str]) -> str:
    """Fills a template in.

    Raises:
        KeyError: a field that the template names is not given; its kind has it (config.texts.FIELDS).
    """
    return template.format_map({name: value.translate(_BRACKETS) for name, value in fields.items()})


_BRACKETS = str.maketrans("【】", "[]")
"""Only the signature stands in 【】: a carrier takes the first for it."""


def offered_reasons(language: Language, codes: Sequence[str]) -> dict[str, str]:
    """Letter → reason code, of the codes that have words in this language."""
    return dict(zip(LETTERS, (code for code in codes if code in language.reasons), strict=False))


def text_problems(texts: Texts, reasons: Mapping[Satisfaction, Sequence[str]]) -> list[tuple[str, str]]:
    """What the texts lack for the reasons that are offered (rating.reasons): keys and sentences."""
    return [
        (f"{language.name}.toml: reasons.{code}", f"is missing; rating.reasons offers {code} after {level.chinese}")
        for language in texts.languages.values()
        for level, codes in reasons.items()
        for code in codes
        if code not in language.reasons
    ]


class TextBook:
    """The texts of one link.

    Args:
        hotline: hotline.name.
        key_map: the configuration's; an older invitation brings its own.
        reasons: the codes offered after a bad level, in their order.
    """

    def __init__(
        self,
        texts: Texts,
        *,
        hotline: str,
        key_map: KeyMap,
        reasons: Mapping[Satisfaction, Sequence[str]],
        signature: Signature,
        split: Split = Split.UDH8,
    ) -> None:
        self.signature = signature
        self.split = split
        self._texts = texts
        self._hotline = hotline
        self.key_map = key_map
        self._reasons = reasons
        self._digests: dict[tuple[TextKind, str, Satisfaction | None], str] = {}

    def names(self, field: str) -> bool:
        """Whether any text of any language names the field."""
        return any(
            field in _named(template)
            for words in self._texts.languages.values()
            for template in words.templates.values()
        )

    # ── one SMS ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def render(
        self,
        kind: TextKind,
        language: str,
        *,
        day: date | None = None,
        count: int = 0,
        case_no: str = "",
        level: Satisfaction | None = None,
        key_map: KeyMap | None = None,
    ) -> str:
        """A text without its signature; "": this kind is not sent.

        Args:
            day: of the call or the closing, in local time.
            level: as understood; needed by the reason questions.
            key_map: the invitation's, where it is not today's.

        Raises:
            ValueError: the text needs a day, a level or a case number that was not given.
        """
        words = self._texts.of(language)
        template = words.templates[self.kind_of(kind, language, level)]
        fields: dict[str, str] = {}
        for name in _named(template):
            match name:
                case "options":
                    value = _options(words, key_map or self.key_map)
                case "date":
                    value = words.forms["date"].format(month=day.month, day=day.day) if day else ""
                case "level":
                    value = words.levels[level] if level else ""
                case "reasons":
                    value = self._reason_list(words, level)
                case "count":
                    value = str(count) if count else ""
                case "case_no":
                    value = case_no
                case _:
                    value = self._hotline
            if not value:
                raise ValueError(f"the text {kind} in {words.name} names {{{name}}}, which is not known here")
            fields[name] = value
        return render(template, fields)

    def kind_of(self, kind: TextKind, language: str, level: Satisfaction | None) -> TextKind:
        """The kind that is really sent: a level without reasons to choose from is asked openly."""
        if kind is TextKind.REASON and not self.letters(language, level):
            return TextKind.REASON_OPEN
        return kind

    def letters(self, language: str, level: Satisfaction | None) -> dict[str, str]:
        """Letter → code as the reason question offers them; the reply is read with it."""
        return offered_reasons(self._texts.of(language), self._reasons.get(level, ()) if level else ())

    def _reason_list(self, words: Language, level: Satisfaction | None) -> str:
        form = words.forms["reason"]
        return words.forms["between"].join(
            form.format(letter=letter, reason=words.reasons[code])
            for letter, code in self.letters(words.name, level).items()
        )

    def pieces(self, text: str, reference: int) -> tuple[Piece, ...]:
        """What is submitted for a rendered text, our signature on it, room left for the carrier's."""
        front, back = self.signature.reserved
        return segments(self.signature.submitted(text), self.split, reference, front=front, back=back)

    def length(self, text: str) -> Length:
        """A rendered text as it is billed."""
        front, back = self.signature.reserved
        submitted = self.signature.submitted(text)
        return Length(
            code_units(submitted) + front + back, segment_count(submitted, self.split, front=front, back=back)
        )

    # ── all of them ───────────────────────────────────────────────────────────────────────────────────────────────────

    def approvals(self) -> tuple[Approval, ...]:
        """Every text that can go out, for `huiyin check` and for the carrier."""
        return tuple(self._list())

    def is_approved(
        self,
        kind: TextKind,
        language: str,
        approved: Collection[str],
        level: Satisfaction | None = None,
        key_map: KeyMap | None = None,
    ) -> bool:
        """The carrier has approved this text, word for word: its digest is among `approved`. An empty text is not.

        Args:
            key_map: as in `render`; another map makes another text.
        """
        words = self._texts.of(language)
        kind = self.kind_of(kind, language, level)
        if kind not in _BY_LEVEL:
            level = None
        if not words.templates[kind]:
            return False
        if key_map is not None and key_map != self.key_map:
            return digest_of(self._approved_form(words, kind, level, key_map)) in approved
        known = self._digests.get((kind, words.name, level))
        if known is None:
            known = digest_of(self._approved_form(words, kind, level, self.key_map))
            self._digests[kind, words.name, level] = known
        return known in approved

    def _list(self) -> Iterator[Approval]:
        for words in self._texts.languages.values():
            for kind in TextKind:
                levels: Sequence[Satisfaction | None] = _BAD if kind in _BY_LEVEL else (None,)
                for level in levels:
                    if self.kind_of(kind, words.name, level) is not kind:
                        continue
                    if kind is TextKind.REASON_OPEN and self.letters(words.name, level):
                        continue
                    if words.templates[kind]:
                        yield self._approval(words, kind, level)

    def _approval(self, words: Language, kind: TextKind, level: Satisfaction | None) -> Approval:
        text = self._approved_form(words, kind, level, self.key_map)
        longest = self.render(
            kind, words.name, day=_LONGEST_DAY, count=_LONGEST_COUNT, case_no=_LONGEST_CASE, level=level
        )
        return Approval(kind, words.name, level, text, digest_of(text), self.length(longest))

    def _approved_form(self, words: Language, kind: TextKind, level: Satisfaction | None, key_map: KeyMap) -> str:
        """The text as sent, with names in braces for what differs from citizen to citizen."""
        fields = {name: f"{{{name}}}" for name in FIELDS[kind]}
        fields |= {"hotline": self._hotline, "options": _options(words, key_map)}
        if level is not None:
            fields |= {"level": words.levels[level], "reasons": self._reason_list(words, level)}
        return self.signature.shown(render(words.templates[kind], fields))


_BY_LEVEL = (TextKind.REASON, TextKind.REASON_OPEN)
_BAD = tuple(level for level in Satisfaction if level.is_bad)
_LONGEST_DAY = date(2026, 12, 31)
_LONGEST_COUNT = 999
_LONGEST_CASE = "9" * 30
"""What the longest text of a kind is measured with; a case number may have 50 characters, few have 30."""


def digest_of(text: str) -> str:
    """The short name of an approved text."""
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]


@lru_cache(maxsize=256)
def _named(template: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(template_fields(template)))


def _options(words: Language, key_map: KeyMap) -> str:
    form = words.forms["option"]
    return words.forms["between"].join(
        form.format(key=key, level=words.levels[level]) for key, level in key_map.items()
    )
