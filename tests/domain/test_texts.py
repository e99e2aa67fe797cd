"""Texts of others beside ours, and commands that a person copies."""

from __future__ import annotations

import subprocess

from tracker.domain.answer import plain, quoted
from tracker.domain.sentences import Fields, say
from tracker.domain.texts import command, named

ODD = (
    "#7",
    "a b",
    "",
    "`reboot`",
    "$(reboot)",
    "it's `x` \\ $(y)",
    "a\nb",
    "\u202elive\u200b2f",
    "\x1b[31m",
    "日本\u2028語",
    "--x",
)


def test_a_shell_takes_each_word_of_a_command_as_it_is_whatever_it_holds() -> None:
    told = command("printf", "%s|", *ODD)

    assert told.isprintable()
    assert "`" not in told
    assert subprocess.run(["bash", "-c", told], capture_output=True, check=True).stdout.decode() == "|".join(ODD) + "|"


def test_what_others_wrote_is_no_command_in_a_sentence_of_ours() -> None:
    odd = "see `tracker pause`"
    told = [named(odd), plain(odd), quoted(odd)]
    told += [say(rule, Fields(odd)) for rule in ("in_step", "finding:stuck", "outbox:sent")]
    told.append(say("finding:stuck", Fields(odd, "shipped", "lost")))

    for sentence in told:
        assert "see  tracker pause" in sentence
        assert "`" not in sentence
