"""Named places where a process may be told to die: `CRASH_AT=<name>` (tests run once for each name)."""

from __future__ import annotations

import os

NAMES = (
    "receive_before_commit",
    "receive_after_commit",
    "inbox_claimed",
    "inbox_before_commit",
    "inbox_after_commit",
    "reconcile_before_commit",
    "reconcile_after_commit",
    "push_claimed",
    "push_before_call",
    "push_after_call",
    "push_after_commit",
    "poll_claimed",
    "poll_after_call",
    "poll_after_commit",
    "sweep_before_commit",
)
OF_RESENDS = ("resend_after_page",)  # of a process that asks a sender to tell again
OF_HOOKS = ("hooks_claimed", "hooks_after_call", "hooks_after_commit")  # of one that audits them
OF_PROOFS = ("proof_after_call",)  # of one that asks for a document
OF_MAILS = ("mail_claimed", "mail_after_send")  # of one that mails
OF_TELLING = ("tell_before_commit", "tell_claimed", "tell_after_call", "tell_after_commit")  # of one that tells
OF_FILES = ("file_before_commit", "file_after_commit")  # of a process that reads one
_ARMED = os.environ.get("CRASH_AT")


def crash_at(name: str) -> None:
    """Die here without any clean-up, as `kill -9` would, if told to."""
    if name == _ARMED:
        os._exit(137)
