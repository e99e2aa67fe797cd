"""Tracking numbers: those in what people typed, and which carriers a number can belong to.

People type what they like into a shop's tracking field. `numbers_in` is the one reading of it, for every platform;
`clean` gives a single number in the same form.

Detection answers a ranked list: several carriers share shapes, so only a single candidate may be believed without the
shop's word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import unquote

from tracker.domain.formats import FORMATS, POSTS, Format

# What people type around numbers: it says nothing else.
_AROUND = """
TRACKING TRACK TRACE TRACKINGNUMBER TRACKINGNO TRACKINGID NUMBER NUM NUMERO NUMMER NO NR N ID CODE PIN PRO SSCC AWB
HAWB MAWB AIRWAYBILL WAYBILL AIR BILL CONSIGNMENT CONNOTE NOTE DOCKET LR SHIPMENT SHIPPING SHIPPED SHIP PARCEL PACKAGE
PKG REF REFERENCE BARCODE LABEL CARRIER COURIER SENT SERVICE VIA BY WITH IS MY YOUR THE AND OR FOR PLUS UND MIT Y ET E
SENDUNG SENDUNGSNUMMER SENDUNGSVERFOLGUNG PAKET PAKETNUMMER TRACKINGNUMMER COLIS SUIVI ENVIO GUIA SEGUIMIENTO
UPS USPS FEDEX DHL EXPRESS ECOMMERCE GROUND PRIORITY FREIGHT STANDARD GLS DPD TNT HERMES EVRI ROYAL MAIL CANADA POST
POSTE AUSTRALIA AUSPOST POSTNL BPOST DELHIVERY BLUEDART PUROLATOR ONTRAC YODEL AMAZON CORREOS POSTNORD
"""
_LABELS = frozenset(_AROUND.split())
_NOTHING = frozenset({"", "NA", "NONE", "NULL", "NIL", "NAN", "UNDEFINED", "TBA", "TBD"})  # no number was typed yet
# The parameters of links that hold numbers, without digits and signs.
_PARAMETERS = """
tracknum tracknums tracknumber tracknumbers trackingnum trackingnumber trackingnumbers trackingno trackno trackingid
trackid trackingcode tracking track trknbr tlabels qtctlabels awb awbs waybill waybills idc piececode consignment
consignments consignmentnumber connote inquirynumber searchfor shipment shipmentid shipmentnumber parcel parcelid
parcelnumber parcelno barcode barcodes number numbers nums num code id match
"""
_NAMES = frozenset(_PARAMETERS.split())
MOST_READ = 5_000  # characters of one text
MOST_NUMBERS = 50  # of one field
_LONGEST = 64  # characters of a number
_MOST_ATOMS = 20  # groups in which one number is typed
_WHOLE = 8  # characters: what is this long is a number by itself; what is shorter may be one group of a number
_FEWEST = 4  # characters of a number of no known format that stands beside others
_TELLING = frozenset({"UPS", "S10", "USPS IMpb N", "USPS IMpb C"})  # shapes that nothing has by chance
_ANY = re.compile("|".join(re.sub(r"\(\?P<\w+>", "(?:", shape.pattern.pattern) for shape in FORMATS), re.ASCII)

_WORD, _LINK = "\x01", "\x02"  # stand for a word in another script, a date, a mail address; and for a link
_ATOM = re.compile("[A-Za-z0-9\x80-\U0010ffff]+|[\x01\x02]")
_UNSEEN, _TIGHT, _SPACE, _WEAK, _HARD = range(5)  # what stands between two atoms; nothing is joined over the last
_GAPS = (re.compile(""), re.compile(r"[-._]"), re.compile(r" +"), re.compile(r"[-() ]+"))
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20)\d\d"
_DATE = re.compile(
    rf"(?<![A-Za-z0-9])(?<![A-Za-z0-9][-./])(?:{_YEAR}([-./]){_MONTH}\1{_DAY}(?:T[0-9:.]{{4,15}}Z?)?"
    rf"|{_DAY}([-./]){_MONTH}\2(?:{_YEAR}|\d\d)|{_MONTH}([-./]){_DAY}\3(?:{_YEAR}|\d\d)|[0-2]?\d:[0-5]\d(?::[0-5]\d)?)"
    r"(?![A-Za-z0-9]|[-./][A-Za-z0-9])"
)
_ROUNDED = re.compile(r"(?<![A-Za-z0-9.,])\d(?:[.,]\d{1,20}[Ee][-+]?|[Ee]\+)\d{1,3}(?![A-Za-z0-9])")  # 9.40011E+21
_FLOAT = re.compile(r"(?P<whole>\d{1,64})(?:\.(?P<part>\d{1,64}))?(?:[Ee]\+?(?P<power>\d{1,3}))?")
_DECIMAL = re.compile(r"(?<![A-Za-z0-9.,-])(\d{2,64})\.0{1,2}(?![A-Za-z0-9.,-])")  # 123456789012.0
_RUN = re.compile(r"[^\s]+")
_SCHEME = re.compile(r"https?://|www\.", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,6}\.[A-Za-z]{2,20}/")
_UNSAFE = re.compile("[\"'<>]")
_BREAKS = (" ", "\n", "\t", ",", ";", "|", "/", "&")  # where a text that is too long may be cut
_ROUTE = re.compile(r"420\d{5}(?:\d{4})?")  # the postcode before a USPS number (GS1 420)


_MARKED = re.compile(
    r"\ufffd-?(?:[\d.]+[eE][+-]?\d+|\d{39,40}|Infinity|NaN)"
)  # a JSON number that is none, as it was decoded


class Printed(float):
    """A JSON number that is no integer, and how it was printed: a float alone cannot tell whether it was rounded."""

    def __init__(self, printed: str) -> None:
        """Keep the text; `float` has read it."""
        self.printed = printed


@dataclass(frozen=True, slots=True)
class Typed:
    """What stands in one tracking field.

    `numbers`: each once, in their order, with the text it was typed in. `unreadable`: texts in which there is no number,
    or one that can be read in two ways. `rest` says what was not read at all, empty where all was.
    """

    numbers: Mapping[str, str] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    rest: str = ""


def numbers_in(value: Any, carrier: str | None = None) -> Typed:
    """Read a tracking field: any JSON value (numbers that are no integers as `Printed`); `carrier` is the shop's word.

    Reads several numbers, words around them, links, hyphens, digits in groups, invisible characters and the digits of
    other scripts. Of two readings the one counts whose check digit fits a known format; where none does, the text is
    unreadable. A wrong check digit is no hindrance. Placeholders ("", "-", "n/a", "0") are nothing. Raises nothing. Reads
    the first 5,000 characters of a text and keeps the first 50 numbers.
    """
    if isinstance(value, str) and is_plain(value):
        return Typed({value.upper(): value})
    numbers: dict[str, str] = {}
    unreadable: dict[str, None] = {}
    rest = ""
    for text, readable in _texts(value):
        part = text
        if len(text) > MOST_READ:
            part = text[: max(0, *map(text[:MOST_READ].rfind, _BREAKS))]
            rest = f"of {len(text)} characters the first {len(part)} were read"
        found, doubts = _read(part, carrier) if readable and (part or not text) else ((), (text,))
        for number in found:
            numbers.setdefault(clean(number), text)  # as it reads when it stands alone
        unreadable.update(dict.fromkeys(doubts))
    if len(numbers) > MOST_NUMBERS:
        rest = f"of {len(numbers)} numbers the first {MOST_NUMBERS} were kept"
        numbers = dict(list(numbers.items())[:MOST_NUMBERS])
    return Typed(numbers, tuple(unreadable), rest)


def is_plain(text: str) -> bool:
    """Say whether a text is a number as it stands, but for small letters: most are."""
    return text.isalnum() and text.isascii() and not text.isalpha() and len(text) <= _LONGEST and bool(text.strip("0"))


def is_rounded(text: str) -> bool:
    """Say whether a text is a number as a spreadsheet prints one that it cannot hold: `9.40011E+21`. Its other digits are lost."""
    return _ROUNDED.fullmatch(text) is not None


def clean(number: str) -> str:
    """Return a single number as carriers print it and as `numbers_in` reads it: no spaces, nothing around it, capitals.

    Raises nothing. A text that holds no number, or several, is only freed of white space and what cannot be seen.
    """
    if number.isascii() and number.isalnum():
        return number.upper()
    number = number[:MOST_READ]
    found, _ = _read(number, None)
    return found[0] if len(found) == 1 else re.sub(r"[\s\0]", "", number.translate(_PLAIN)).upper()


def candidates(number: str) -> tuple[str, ...]:
    """Rank the carriers a number can belong to: those whose check digit fits come before those without one."""
    found = list(shapes_of(clean(number)))
    return tuple(dict.fromkeys([c for c, _, right in found if right] + [c for c, _, right in found if right is None]))


def doubtful(carrier: str | None, number: str) -> bool:
    """Say whether a number has the shape of formats of that carrier (None: of any), and the check digit of none of them."""
    found = [right for name, _, right in shapes_of(clean(number)) if carrier in (None, name)]
    return bool(found) and not any(right is not False for right in found)


def shapes_of(number: str) -> Iterator[tuple[str, Format, bool | None]]:
    """Yield the formats whose shape a number has, each with its carrier; whether its check digit fits, None without one."""
    if not _ANY.fullmatch(number):
        return
    for shape in FORMATS:
        match = shape.pattern.fullmatch(number)
        if match is None:
            continue
        carrier = shape.carrier
        if carrier == "post":
            carrier = POSTS.get(match["country"], f"post_{match['country'].lower()}")
        yield carrier, shape, shape.check(match["s"], match["c"]) if shape.check else None


# a JSON value -> texts


def _texts(value: Any) -> Iterator[tuple[str, bool]]:
    """Yield the texts of a value, and whether numbers may be looked for in each."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(reversed(one))
        elif isinstance(one, str):
            yield (one[1:], False) if _MARKED.fullmatch(one) else (one, True)
        elif isinstance(one, int) and not isinstance(one, bool):
            yield (str(one), one >= 0) if abs(one) < 10**_LONGEST else (f"more than {_LONGEST} digits", False)
        elif isinstance(one, Printed):
            yield _whole(one.printed)
        elif isinstance(one, dict):
            yield "an object", False
        elif one is not None:  # a float has lost what was printed
            yield str(one).lower(), False


def _whole(printed: str) -> tuple[str, bool]:
    """Read a number that was not printed as an integer: 1.23456789012e11 lost nothing, 1.23457e+11 has lost digits."""
    match = _FLOAT.fullmatch(printed)
    if match is not None:
        whole, part, power = match["whole"], match["part"] or "", int(match["power"] or 0)
        if 0 <= power <= len(part) and not part[power:].strip("0"):
            return whole + part[:power], True
    return printed[:_LONGEST], False


# a text -> numbers


class _Plain(dict[int, str]):
    """Translates a text into ASCII where that changes no meaning; what cannot be seen becomes NUL."""

    def __missing__(self, code: int) -> str:
        """Translate one character. Nothing is kept: there are a million."""
        same = unicodedata.normalize("NFKC", chr(code))
        return "".join(map(_plain, same)) if len(same) < 5 else f" {_WORD} "


def _plain(character: str) -> str:
    if "\x20" <= character < "\x7f":
        return character
    category = unicodedata.category(character)
    if character in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85" or category in ("Zl", "Zp"):
        return "\n"
    if category in ("Cf", "Cc", "Mn", "Me"):
        return "\0"
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Pd" or character == "\u2212":
        return "-"
    if category in ("Lu", "Ll", "Lt", "Lm"):
        return character
    return f" {_WORD} " if category == "Lo" else ","  # scripts without spaces: words stand next to numbers


_PLAIN = _Plain({**{code: _plain(chr(code)) for code in range(128)}, ord("№"): "#"})


class _Atom(NamedTuple):
    """A run of letters and digits, in capitals, and what stands before it. `word`: it can be no part of a number."""

    text: str
    gap: int
    joiner: str
    digits: int
    word: bool


class _Number(NamedTuple):
    """A number that was found. `known`: it has a known format; else `text` is all that speaks for it."""

    text: str
    known: bool


@lru_cache(maxsize=1024)  # the same orders are read at each of their changes
def _read(text: str, carrier: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the numbers in a text, and its parts that are none (the whole text where there is no number at all)."""
    if is_plain(text):
        return (text.upper(),), ()
    if len(text) > _LONGEST and text.isascii() and text.isalnum():
        return (), (text,)
    plain = text.translate(_PLAIN)
    letters = "".join(_ATOM.findall(plain)).upper()
    if letters in _NOTHING or not letters.strip("0"):
        return (), ()
    links: list[str] = []
    doubts: list[str] = []
    if "/" in plain or "@" in plain or "www." in plain.lower():
        plain = _RUN.sub(partial(_unlink, links), plain)
    plain = _ROUNDED.sub(partial(_put_aside, doubts), _DATE.sub(f" {_WORD} ", plain))
    found, more = _numbers(_DECIMAL.sub(r"\1", plain), carrier, links)
    if len(found) > 1:
        found = [one for one in found if one.known or len(one.text) >= _FEWEST]
    numbers = tuple(dict.fromkeys(one.text for one in found))
    return numbers, (*doubts, *more) if numbers else (text,)


def _unlink(links: list[str], run: re.Match[str]) -> str:
    """Take a link out of a run without spaces; a mail address is a word."""
    text = run[0]
    scheme = _SCHEME.search(text)
    if scheme is None and not _HOST.match(text):
        return f",{_WORD}," if "@" in text else text
    start = scheme.start() if scheme else 0
    unsafe = _UNSAFE.search(text, start)
    end = unsafe.start() if unsafe else len(text)
    links.append(text[start:end].replace("\0", ""))
    return f"{text[:start]},{_LINK},{text[end:]}"


def _put_aside(doubts: list[str], match: re.Match[str]) -> str:
    doubts.append(match[0])
    return f" {_WORD} "


def _numbers(plain: str, carrier: str | None, links: Sequence[str] = ()) -> tuple[list[_Number], list[str]]:
    """Return the numbers of a text in ASCII, in their order, and what can be read in two ways."""
    phrases = _phrases(plain)
    known = [_known(phrase, carrier) for phrase in phrases]
    left = [list(_left(phrase, groups)) for phrase, groups in zip(phrases, known, strict=True)]
    wordy = any(_is_word(compound) for rest in left for _, cluster in rest for compound in cluster)
    found: list[_Number] = []
    doubts: list[str] = []
    waiting = iter(links)
    for phrase, groups, rest in zip(phrases, known, left, strict=True):
        if phrase[0].text == _LINK:
            found += _linked(next(waiting), carrier)
            continue
        placed = [(start, _Number(text, True)) for start, (_, text) in groups.items()]
        for start, cluster in rest:
            texts, doubt = _bare(cluster, wordy, bool(groups))
            placed += [(start, _Number(text, False)) for text in texts]
            doubts += [doubt] if doubt else []
        found += [number for _, number in sorted(placed, key=lambda one: one[0])]
    return found, doubts


def _digits(text: str) -> int:
    return sum(map(text.count, "0123456789"))


def _phrases(plain: str) -> list[list[_Atom]]:
    """Cut a text into atoms, and these where a number cannot go on."""
    found: list[list[_Atom]] = []
    end, phone = 0, False
    for match in _ATOM.finditer(plain):
        between, text = plain[end : match.start()].replace("\0", ""), match[0].upper()
        gap = next((rank for rank, gap in enumerate(_GAPS) if gap.fullmatch(between)), _HARD) if found else _HARD
        if gap == _HARD:
            phone = between.endswith("+") and not (found and found[-1][-1].digits)
            found.append([])
        digits = _digits(text)
        word = phone or not text.isascii() or not text.isalnum() or (text in _LABELS and len(text) > 2)  # NO: Norway
        found[-1].append(_Atom(text, gap, between, digits, word))
        end = match.end()
    return found


def _known(phrase: Sequence[_Atom], carrier: str | None) -> dict[int, tuple[int, str]]:
    """Find the atoms, and runs of atoms, that are numbers of known formats: first atom -> (last, number).

    The most digits are to be explained; then by check digits and shapes of the carrier, by shapes that tell, by check
    digits of anybody, and with as little joining as can be.
    """
    count = len(phrase)
    best: list[tuple[int, ...]] = [(0,) * 6] * (count + 1)
    picked: list[tuple[int, str] | None] = [None] * count
    for start in reversed(range(count)):
        best[start] = best[start + 1]
        for end, text, worth in _readings(phrase, start, carrier):
            total = tuple(map(int.__add__, worth, best[end + 1]))
            if total > best[start]:
                best[start], picked[start] = total, (end, text)
    groups: dict[int, tuple[int, str]] = {}
    at = 0
    while at < count:
        if choice := picked[at]:
            groups[at] = choice
            at = choice[0]
        at += 1
    return _whole_groups(phrase, groups)


def _readings(
    phrase: Sequence[_Atom], start: int, carrier: str | None
) -> Iterator[tuple[int, str, tuple[int, int, int, int, int, int]]]:
    """Yield the numbers of known formats that begin with an atom: last atom, number, what speaks for it."""
    text, widest, whole = "", _UNSEEN, 0
    for end in range(start, min(len(phrase), start + _MOST_ATOMS)):
        atom = phrase[end]
        widest = max(widest, atom.gap) if end > start else widest
        whole += len(atom.text) >= _WHOLE and not _ROUTE.fullmatch(atom.text)
        text += atom.text
        two = whole > 1 and widest > _UNSEEN  # whole numbers
        if atom.word or two or len(text) > _LONGEST or (end > start and atom.joiner == "_"):
            return  # an underscore belongs to a number (DHL: 1-254346763_1)
        fits = proved = shaped = ours = False
        telling = whole == 0 and end > start + 1 and start == 0 and end == len(phrase) - 1  # all of it, in groups
        for name, shape, right in shapes_of(text):
            ours |= name == carrier and right is True
            shaped |= name == carrier
            proved |= right is True
            telling |= shape.name in _TELLING
            fits = True
        if fits and (proved or ((shaped or telling) and widest < _WEAK)):
            digits = _digits(text)
            worth = (digits, digits * ours, digits * shaped, digits * telling, digits * proved, -(end > start))
            yield end, text, worth


def _whole_groups(phrase: Sequence[_Atom], groups: dict[int, tuple[int, str]]) -> dict[int, tuple[int, str]]:
    """Leave out runs of digits that fit a format by chance: more digits, or a run of another length, stand next to them."""
    owner = {at: start for start, (end, _) in groups.items() for at in range(start, end + 1)}

    def chance(start: int) -> bool:
        end, text = groups[start]
        if end == start or not text.isdigit() or any(shape.name in _TELLING for _, shape, _ in shapes_of(text)):
            return False
        beside = [
            at
            for at, gap in ((start - 1, start), (end + 1, end + 1))
            if 0 <= at < len(phrase) and phrase[gap].gap <= _SPACE
        ]
        lengths = [len(groups[owner[at]][1]) if at in owner else 0 for at in beside if phrase[at].digits]
        return any(length != len(text) for length in lengths)

    return {start: group for start, group in groups.items() if not chance(start)}


def _left(phrase: Sequence[_Atom], groups: Mapping[int, tuple[int, str]]) -> Iterator[tuple[int, list[list[_Atom]]]]:
    """Yield what no known number took, in clusters: compounds (without spaces inside) with only spaces between them."""
    taken = {at for start, (end, _) in groups.items() for at in range(start, end + 1)}
    cluster: list[list[_Atom]] = []
    begins = 0
    for at, atom in enumerate(phrase):
        if at in taken:
            continue
        beside = at > 0 and at - 1 not in taken
        if beside and cluster and atom.gap <= _TIGHT:
            cluster[-1].append(atom)
            continue
        if not (beside and cluster and atom.gap == _SPACE):
            if cluster:
                yield begins, cluster
            cluster, begins = [], at
        cluster.append([atom])
    if cluster:
        yield begins, cluster


def _is_word(compound: Sequence[_Atom]) -> bool:
    """Say whether a compound is a word that means something of its own."""
    bare = not any(atom.digits for atom in compound)
    return any(atom.text not in _LABELS and atom.text != _LINK and (bare or atom.word) for atom in compound)


def _bare(cluster: Sequence[Sequence[_Atom]], wordy: bool, known: bool) -> tuple[list[str], str]:
    """Return the numbers of no known format in a cluster, and what can be read in two ways.

    Beside words that mean something, or beside a known number, little things are no numbers: counts, days, house numbers.
    """
    found: list[str] = []
    doubt = ""
    for is_word, compounds in groupby(cluster, _is_word):
        pieces = (
            [] if is_word or (wordy and known) else [text for compound in compounds for text in _compound(compound)]
        )
        if wordy:
            pieces = [text for text in pieces if len(text) < _WHOLE or _digits(text) >= _WHOLE - 2]
        whole = [text for text in pieces if len(text) >= _WHOLE]
        if len(whole) == len(pieces) or known:
            found += whole
        elif whole:
            doubt = " ".join(pieces)
        elif not wordy and (len(pieces) == 1 or all(map(str.isalnum, pieces))):  # in groups
            found.append("".join(pieces))
        elif not wordy:
            doubt = " ".join(pieces)
    return [text for text in found if len(text) <= _LONGEST], doubt or next((t for t in found if len(t) > _LONGEST), "")


def _compound(compound: Sequence[_Atom]) -> list[str]:
    """Return a compound as a number: groups of digits are joined, what has letters keeps its hyphens and dots."""
    atoms = list(compound)
    while atoms and atoms[0].text in _LABELS:
        atoms.pop(0)
    while atoms and atoms[-1].text in _LABELS:
        atoms.pop()
    if not all(atom.text.isdigit() and atom.joiner != "_" for atom in atoms):
        return ["".join(atom.joiner + atom.text for atom in atoms)[len(atoms[0].joiner) :]]
    texts: list[str] = []
    for atom in atoms:
        if texts and atom.gap == _UNSEEN:
            texts[-1] += atom.text
        else:
            texts.append(atom.text)
    return texts if sum(len(text) >= _WHOLE for text in texts) > 1 else ["".join(texts)] if texts else []


def _linked(link: str, carrier: str | None) -> list[_Number]:
    """Return the numbers in a link: of parameters made for them, else of known formats, else what its path ends with."""
    first, *rest = re.split("[?#&;]", unquote(link, errors="replace"))
    path = first.split("://")[-1].split("/")[1:]
    named: list[_Number] = []
    other: list[_Number] = []
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals:
            path += name.split("/")
        elif re.sub("[^a-z]", "", name.lower()) in _NAMES:
            named += _numbers(value.translate(_PLAIN), carrier)[0]
        else:
            other += _numbers(value.translate(_PLAIN), carrier)[0]
    parts = [one for piece in path for one in _numbers(piece.translate(_PLAIN), carrier)[0]]
    last = next((piece.upper() for piece in reversed(path) if piece), "")
    plain = last.isascii() and last.isalnum() and 6 <= len(last) <= _LONGEST and _digits(last) >= _FEWEST
    sure = [one for one in other if any(n == carrier or s.name in _TELLING for n, s, _ in shapes_of(one.text))]
    return named or [one for one in parts if one.known] or sure or ([_Number(last, False)] if plain else [])
