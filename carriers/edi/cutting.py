"""Cut EDI files by message: ST to SE, UNH to UNT, each with the head of its envelope. What is wrong with an envelope is told.

A payload has three parts: the head (ISA and GS; UNA, UNB and UNG), the message, and what is wrong: empty, or a sentence. A
message that is not whole is told with what came of it and is not read; envelopes that count wrong are told beside messages
that are whole by their own count, which are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from tracker.domain.errors import BadPayload
from tracker.plugin.files import Cut
from tracker.plugin.payloads import BOM

READ = 64 << 10
MOST_SEGMENT = 64 << 10
MOST_MESSAGE = 4 << 20  # bytes of a message: it may not be cut, and must be held
ISA = 106  # bytes, always (X12.5)
SPACE = b" \r\n\t\0\x1a"


class _Stream:
    """A file, segment by segment, in bounded memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._held, self._at = file, b"", 0  # what is held, from where on it is not taken yet
        self.end = 0  # bytes that were taken
        self.number = 0  # segments that were taken

    def peek(self, count: int) -> bytes:
        """Return the next bytes after white space, as many as there are."""
        while True:
            self._fill(count)
            if not self.end and self._held.startswith(BOM):
                self._take(len(BOM))
            while (at := self._at) < len(self._held) and self._held[at] in SPACE:
                self._take(1)
            if len(self._held) - self._at >= count or not self._fill(count):
                return self._held[self._at : self._at + count]

    def take(self, count: int) -> bytes:
        """Take so many bytes, or all that are left."""
        self._fill(count)
        self.number += 1
        return self._take(count)

    def segment(self, terminator: bytes, release: bytes = b"") -> tuple[bytes, bool]:
        """Take the next segment, without its terminator: and whether it ended; what is left where the file ends before."""
        self.peek(1)
        self.number += 1
        size = 0
        while True:
            at = self._held.find(terminator, self._at + size)
            if at < 0:
                size = len(self._held) - self._at
                if size > MOST_SEGMENT or not self._fill(size + 1):
                    return self._take(min(size, MOST_SEGMENT)), False
                continue
            size = at - self._at
            if release and self._is_released(at, release):
                size += 1
                continue
            text = self._take(size)
            self._take(len(terminator))
            return text, True

    def _is_released(self, at: int, release: bytes) -> bool:
        """Say whether a terminator is a letter: an odd number of release characters stands before it."""
        before = at
        while before > self._at and self._held[before - 1 : before] == release:
            before -= 1
        return (at - before) % 2 == 1

    def _take(self, count: int) -> bytes:
        taken = self._held[self._at : self._at + count]
        self._at += len(taken)
        self.end += len(taken)
        return taken

    def _fill(self, count: int) -> bool:
        """Read until so many bytes are held. Returns whether anything more was there."""
        before = len(self._held) - self._at
        if before >= count:
            return False
        self._held, self._at = self._held[self._at :], 0
        while len(self._held) < count and (more := self._file.read(READ)):
            self._held += more
        return len(self._held) > before


@dataclass
class _Syntax:
    """What differs between the two: how segments end, and what they are called."""

    terminator: bytes
    element: bytes
    release: bytes
    opens: tuple[bytes, bytes, bytes]  # interchange, group, message
    closes: tuple[bytes, bytes, bytes]
    own: tuple[int, int, int]  # where each one's number stands as it opens
    counts: tuple[int, int, int] = (1, 1, 1)

    def elements(self, segment: bytes) -> list[bytes]:
        """Split a segment where elements are parted; those of an envelope hold no released characters."""
        return segment.split(self.element)


@dataclass
class _Open:
    """An interchange or group that is open: its number, and how many of what it counts came."""

    number: bytes = b""
    came: int = 0


@dataclass
class _Message:
    """A message that is open."""

    line: int
    segments: list[bytes] = field(default_factory=list)
    size: int = 0


def cut(file: BinaryIO) -> Iterator[Cut]:
    """Cut a file of one interchange or several. Raises BadPayload where it begins with none."""
    stream = _Stream(file)
    found = False
    while head := stream.peek(3):
        if head == b"ISA":
            yield from _Interchange(stream, *_x12(stream)).cuts()
        elif head in (b"UNA", b"UNB"):
            yield from _Interchange(stream, *_edifact(stream)).cuts()
        elif not found:
            raise BadPayload("$", "is neither X12 (ISA) nor EDIFACT (UNA, UNB)")
        else:
            rest = stream.take(MOST_SEGMENT)
            yield Cut((b"", rest, b"what follows the interchange is none"), stream.number, 1, stream.end)
            while stream.take(READ):
                pass  # of what is nothing the beginning is enough
        found = True


def _x12(stream: _Stream) -> tuple[_Syntax, bytes]:
    """Read ISA: 106 bytes that name the characters. Raises BadPayload where it is none."""
    isa = stream.take(ISA)
    if len(isa) < ISA or len(isa.split(isa[3:4])) != 17 or isa[105:106].isalnum():
        raise BadPayload("$.ISA", "is not 106 characters with 16 elements")
    names = (b"ISA", b"GS", b"ST"), (b"IEA", b"GE", b"SE")
    return _Syntax(isa[105:106], isa[3:4], b"", *names, (13, 6, 2)), isa


def _edifact(stream: _Stream) -> tuple[_Syntax, bytes]:
    """Read UNA, where it is there, and UNB. Raises BadPayload where that is none."""
    una = stream.take(9) if stream.peek(3) == b"UNA" else b"UNA:+.? '"
    stream.peek(1)
    syntax = _Syntax(
        una[8:9], una[4:5], una[6:7].strip(), (b"UNB", b"UNG", b"UNH"), (b"UNZ", b"UNE", b"UNT"), (5, 5, 1)
    )
    unb, whole = stream.segment(syntax.terminator, syntax.release)
    if not whole or not unb.startswith(b"UNB" + syntax.element) or len(syntax.elements(unb)) < 6:
        raise BadPayload("$.UNB", "is no head of an interchange")
    return syntax, una + unb + syntax.terminator


class _Interchange:
    """One interchange while it is cut."""

    def __init__(self, stream: _Stream, syntax: _Syntax, head: bytes) -> None:
        self._stream, self._syntax, self._head = stream, syntax, head
        opens = syntax.elements(head.rstrip(syntax.terminator) if head.startswith(b"ISA") else head[9:-1])
        self._interchange = _Open(opens[syntax.own[0]].strip())
        self._group: _Open | None = None
        self._group_head = b""
        self._message: _Message | None = None
        self._messages = 0

    def cuts(self) -> Iterator[Cut]:
        """Cut until the interchange is closed, another one begins, or the file ends."""
        (opens, group, begins), (closes, group_ends, ends) = self._syntax.opens, self._syntax.closes
        while self._stream.peek(1):
            if self._stream.peek(3) in ((b"ISA",) if opens == b"ISA" else (b"UNA", b"UNB")):
                break
            text, whole = self._stream.segment(self._syntax.terminator, self._syntax.release)
            name = text.split(self._syntax.element)[0].strip()
            if (
                not whole and name != closes
            ):  # which may be the last thing in the file: its number says whether it is whole
                yield from self._broken(text, f"the file ends within the segment {_shown(name)}, or it is too long")
                return
            if name in (begins, group, group_ends, closes) and self._message is not None:
                yield from self._broken(b"", f"{_shown(name)} comes before its {ends.decode()}")
            if name == begins:
                self._message = _Message(self._stream.number)
            if self._message is not None:
                yield from self._add(text, name == ends)
            elif name == group:
                self._group, self._group_head = _Open(self._own(text, 1)), text + self._syntax.terminator
                self._interchange.came += 1
            elif name == group_ends:
                yield from self._closed(text, self._group, "messages")
                self._group, self._group_head = None, b""
            elif name == closes:
                if self._group is not None:
                    yield self._told(b"", f"{_shown(name)} comes before {group_ends.decode()}")
                yield from self._closed(text, self._interchange, "messages or groups")
                return
            else:
                yield self._told(text, f"{_shown(name)} stands outside of a message")
        if self._message is not None:
            yield from self._broken(b"", "the interchange ends within this message")
        yield self._told(b"", f"the interchange ends without {closes.decode()}")

    def _add(self, text: bytes, last: bool) -> Iterator[Cut]:
        """Add a segment to the message that is open; give it where it is whole, or more than can be held."""
        message, end = self._message, self._syntax.terminator
        assert message is not None
        message.segments.append(text)
        message.size += len(text) + 1
        if last:
            self._message = None
            self._counted()
            body = b"".join(one + end for one in message.segments)
            yield Cut((self._head + self._group_head, body, b""), message.line, len(message.segments), self._stream.end)
        elif message.size > MOST_MESSAGE:
            yield from self._broken(b"", f"this message is longer than {MOST_MESSAGE} bytes")

    def _counted(self) -> None:
        self._messages += 1
        if self._group is not None:
            self._group.came += 1
        elif self._syntax.opens[1] == b"UNG":  # without groups UNZ counts messages
            self._interchange.came += 1

    def _broken(self, rest: bytes, said: str) -> Iterator[Cut]:
        """Tell of a message that is not whole, with its beginning; it is counted as one that came."""
        message, self._message = self._message, None
        if message is not None:
            self._counted()
        segments = [*(message.segments if message else []), *([rest] if rest else [])]
        body = b"".join(one + self._syntax.terminator for one in segments)[:MOST_SEGMENT]
        line = message.line if message is not None else self._stream.number
        yield Cut((self._head + self._group_head, body, said.encode()), line, max(1, len(segments)), self._stream.end)

    def _closed(self, text: bytes, opened: _Open | None, what: str) -> Iterator[Cut]:
        """Compare what closes a group or interchange with what came."""
        elements = self._syntax.elements(text)
        name = _shown(elements[0].strip())
        counted, number = (elements[i].strip() if len(elements) > i else b"" for i in (1, 2))
        if opened is None:
            yield self._told(text, f"{name} closes nothing")
            return
        if not re.fullmatch(rb"\d{1,9}", counted) or int(counted) != opened.came:
            yield self._told(text, f"{name} counts {_shown(counted)} {what}, and {opened.came} came")
        if number != opened.number:
            yield self._told(
                text, f"{name} has the number {_shown(number)}, and what it closes {_shown(opened.number)}"
            )

    def _own(self, text: bytes, level: int) -> bytes:
        elements = self._syntax.elements(text)
        at = self._syntax.own[level]
        return elements[at].strip() if len(elements) > at else b""

    def _told(self, text: bytes, said: str) -> Cut:
        body = text or said.encode()
        return Cut(
            (self._head + self._group_head, body[:MOST_SEGMENT], said.encode()),
            self._stream.number,
            1,
            self._stream.end,
        )


def _shown(word: bytes) -> str:
    """Return what a file says, as it can be told."""
    return repr(word[:20].decode("latin-1"))
