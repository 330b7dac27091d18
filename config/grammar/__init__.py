"""The words of the reply grammar, as data: sms/grammar/words.py reads and checks them, docs/sms-replies.md explains."""
