"""The reply grammar: what a citizen's SMS says, by rules and closed word lists, or that it is unclear.

A wrong level is the worst mistake, a missed one costs a clarification. Everything here is pure; the words are data in
`config/grammar/`. docs/sms-replies.md states the rules, R1 to R7, by whose names every answer says why.
"""

from sms.grammar.automatic import Machine, is_automatic, machine
from sms.grammar.follow_up import FollowUp, FollowUpKind, read_follow_up
from sms.grammar.reading import Outcome, Reading, Rule, read
from sms.grammar.words import GrammarInvalid

__all__ = [
    "FollowUp",
    "FollowUpKind",
    "GrammarInvalid",
    "Machine",
    "Outcome",
    "Reading",
    "Rule",
    "is_automatic",
    "machine",
    "read",
    "read_follow_up",
]
