"""The shapes of tracking numbers, and their check digits.

Patterns and algorithms: jkeen/tracking_number_data @ b79ce4b (MIT), read 2026-11; tests/contract runs the whole data
set against this table. Roadie: UPS Track Alert v2 specification.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

POSTS = {  # the post that an S10 number's country stands for
    "US": "usps", "CA": "canadapost", "GB": "royalmail", "AU": "australiapost", "NL": "postnl", "DE": "dhl",
}  # fmt: skip


def _value(character: str) -> int:
    return int(character) if character.isdigit() else (ord(character) - 3) % 10


def _mod10(even: int, odd: int, serial: str, digit: str) -> bool:
    total = sum(_value(c) * (odd if i % 2 else even) for i, c in enumerate(serial))
    return -total % 10 == int(digit)


def _mod10_reversed(even: int, odd: int, serial: str, digit: str) -> bool:
    return _mod10(even, odd, serial[::-1], digit)


def _weights(weights: str, serial: str, digit: str) -> bool:
    return sum(int(c) * int(w) for c, w in zip(serial, weights, strict=True)) % 11 % 10 == int(digit)


def _luhn(serial: str, digit: str) -> bool:
    doubled = [int(c) * (1 if i % 2 else 2) for i, c in enumerate(reversed(serial))]
    return -sum(d - 9 if d > 9 else d for d in doubled) % 10 == int(digit)


def _mod7(serial: str, digit: str) -> bool:
    return int(serial) % 7 == int(digit)


def _s10(serial: str, digit: str) -> bool:
    rest = sum(int(c) * w for c, w in zip(serial, (8, 6, 4, 2, 3, 5, 9, 7), strict=True)) % 11
    return {0: 5, 1: 0}.get(rest, 11 - rest) == int(digit)


def _mod37(serial: str, digit: str) -> bool:
    alphabet, p = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", 36
    for character in serial:
        p += alphabet.index(character)
        p = (p - 36 if p > 36 else p) * 2
        p = p - 37 if p > 36 else p
    return alphabet[(37 - p) % 36] == digit


def _legacy(serial: str, digit: str) -> bool:
    return _mod10(3, 1, serial if serial.startswith("91") else "91" + serial, digit)


def _prefixed(prefix: str, serial: str, digit: str) -> bool:
    return _mod10(1, 2, serial if serial.startswith(prefix) else prefix + serial, digit)


@dataclass(frozen=True, slots=True)
class Format:
    """One shape of number; `s` is the serial and `c` the check character of `pattern`."""

    carrier: str
    name: str
    pattern: re.Pattern[str]
    check: Callable[[str, str], bool] | None


def _format(carrier: str, name: str, pattern: str, check: Callable[[str, str], bool] | None = None) -> Format:
    return Format(carrier, name, re.compile(pattern, re.ASCII), check)


_ZIP = r"(?:420\d{5}(?:\d{4}(?=\d{22}$))?)?"
_MAILER = r"(?:9\d{8}|[0-8]\d{5})"
FORMATS = (
    _format("ups", "UPS", r"1Z(?P<s>[A-Z0-9]{15})(?P<c>\d)", partial(_mod10, 1, 2)),
    _format("ups", "UPS Waybill", r"[AHJKTV](?P<s>\d{9})(?P<c>\d)", partial(_mod10, 1, 2)),
    _format("ups", "UPS Roadie", r"1R(?:[A-Z0-9]{14}|[A-Z0-9]{26})"),
    _format("fedex", "FedEx Express (12)", r"(?P<s>\d{11})(?P<c>\d)", partial(_weights, "31731731731")),
    _format("fedex", "FedEx Express (34)", r"[0-8]\d{19}(?P<s>\d{13})(?P<c>\d)", partial(_weights, "1731731731731")),
    _format("fedex", "FedEx ASTRA (32)", r"3\d{15}(?P<s>\d{11})(?P<c>\d)\d{4}", partial(_weights, "31731731731")),
    _format("fedex", "FedEx Ground", r"(?P<s>\d{14})(?P<c>\d)", partial(_mod10, 1, 3)),
    _format("fedex", "FedEx Ground (SSCC-18)", r"\d{2}(?P<s>\d{15})(?P<c>\d)", partial(_mod10, 3, 1)),
    _format("fedex", "FedEx Ground 96 (22)", r"96\d{5}(?P<s>\d{14})(?P<c>\d)", partial(_mod10, 1, 3)),
    _format("fedex", "FedEx Ground GSN", r"96\d{18}(?P<s>\d{13})(?P<c>\d)", partial(_weights, "1731731731731")),
    _format("usps", "USPS 20", r"(?P<s>\d{19})(?P<c>\d)", partial(_mod10, 3, 1)),
    _format(
        "usps",
        "USPS IMpb N",
        rf"{_ZIP}(?P<s>94\d{{3}}{_MAILER}(?:\d{{15}}|\d{{14}}|\d{{11}}|\d{{10}}|\d{{7}}))(?P<c>\d)",
        partial(_mod10_reversed, 3, 1),
    ),
    _format("usps", "USPS Legacy", r"(?:420\d{5}(?:\d{4})?)?(?P<s>(?:91)?\d{19})(?P<c>\d)", _legacy),
    _format(
        "usps",
        "USPS IMpb C",
        rf"{_ZIP}(?P<s>(?:92(?=\d{{3}}9)|93(?=\d{{3}}[0-8])|95)\d{{3}}{_MAILER}"
        r"(?:\d{14}|\d{11}|\d{10}|\d{7}))(?P<c>\d)",
        partial(_mod10, 3, 1),
    ),
    _format("dhl", "DHL Express", r"(?P<s>\d{9,10})(?P<c>\d)", _mod7),
    _format("dhl", "DHL Express (Piece ID)", r"J[A-Z]{2,3}\d{9,10}"),
    _format("dhl", "DHL E-Commerce", r"(?:GM|LX|RX|UV|CN|SG|TH|IN|HK|MY)(?=[A-Z]*\d)[0-9A-Z]{10,39}"),
    _format("dhl", "DHL E-Commerce (14)", r"\d{14}"),
    _format("canadapost", "Canada Post (16)", r"(?P<s>\d{15})(?P<c>\d)", partial(_mod10, 3, 1)),
    _format("dpd", "DPD (28)", r"(?P<s>\d{27})(?P<c>[0-9A-Z])", _mod37),
    _format("dpd", "DPD (14)", r"(?P<s>\d{14})(?P<c>[0-9A-Z])", _mod37),
    _format("purolator", "Purolator (12)", r"(?P<s>[0-5]\d{10})(?P<c>\d)", _luhn),
    _format("purolator", "Purolator (alpha + 9)", r"[A-Z]{3}\d{9}"),
    _format("yodel", "Yodel", r"JJ?D\d{16}"),
    _format("post", "S10", r"[A-Z]{2}(?P<s>\d{8})(?P<c>\d)(?P<country>(?!AA|Q[M-Z]|X|ZZ)[A-Z]{2})", _s10),
    _format("ontrac", "OnTrac", r"C(?P<s>\d{13})(?P<c>\d)", partial(_prefixed, "4")),
    _format("ontrac", "OnTrac D", r"D(?P<s>\d{13})(?P<c>\d)", partial(_prefixed, "5")),
)
