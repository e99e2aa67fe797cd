"""Which carriers a number can be of, ranked, and why: by its check digit, its format, its country and what its shop ships with.

Shapes overlap: one in ten numbers fits a check digit by chance, consolidators print numbers of the post that delivers for
them, and an S10 number is told of by two posts. So more than one may stay possible; then one account is asked at a time,
until a scan says whose parcel it is. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tracker.domain.formats import POSTS
from tracker.domain.numbers import clean, shapes_of

# Formats of one carrier whose numbers others print too: they hand over to it (jkeen/tracking_number issue 24).
SHARED: Final = {
    "USPS IMpb C": ({"fedex": "SmartPost, Ground Economy", "ups": "Mail Innovations, SurePost", "dhl": "eCommerce"}),
    "USPS 20": {"fedex": "SmartPost"},
    "USPS Legacy": {"fedex": "SmartPost"},
}
# Shapes that no document of the carrier tells, of what is known in general: they count only where the merchant has an account there.
LIKELY: Final = {
    "postnl": re.compile(r"3S[A-Z0-9]{11,13}"),
    "gls": re.compile(r"\d{11,14}|(?=\D*\d)[A-Z0-9]{8}"),
    "evri": re.compile(r"H[A-Z0-9]{15}|P\d{7}|\d{16}"),
    "hermes_germany": re.compile(r"\d{14}|\d{20}|H\d{19}"),
    "delhivery": re.compile(r"\d{11,14}"),
    "bluedart": re.compile(r"\d{8,11}"),
    "dhl": re.compile(r"003404\d{14}|JJ?D\d{18}"),  # Parcel DE, as its samples are; pieces
    "dpd": re.compile(r"\d{14}"),  # PARCELNO of its files and of its web services
    "royalmail": re.compile(r"[A-Z]{2}\d{9}GB|\d{16}|\d{21}"),
    "australiapost": re.compile(r"[A-Z0-9]{3,5}\d{10,18}"),  # many fit it: asked last
}
FEW_DIGITS = 15  # so many digits and nothing else are printed by carriers that no list tells
Check = Literal["fits", "none", "shared", "likely", "wrong"]
_RANK: Final[Mapping[Check, int]] = {"fits": 0, "none": 1, "shared": 2, "likely": 3, "wrong": 4}
_SAID: Final[Mapping[Check, str]] = {
    "fits": "its check digit fits",
    "none": "the format has no check digit",
    "shared": "hands parcels over to it, and prints its numbers",
    "likely": "no document tells its format: it counts only where you have an account",
    "wrong": "its check digit is wrong",
}


@dataclass(frozen=True, slots=True)
class Guess:
    """A carrier that a number can be of: the name of the format, what its check digit says, and what speaks for it."""

    carrier: str
    shape: str
    check: Check
    why: tuple[str, ...]

    @property
    def possible(self) -> bool:
        """Say whether it is believed at all: a wrong check digit is of no carrier, as long as another fits."""
        return self.check != "wrong"


def recognize(
    number: str,
    *,
    country: str = "",
    spoken: Collection[str] = (),
    named: Collection[str] = (),
    habit: Mapping[str, int] | None = None,
) -> tuple[Guess, ...]:
    """Rank the carriers that a number can be of, the likeliest first; each once.

    `country`: where the order goes, as ISO 3166 alpha-2. `spoken`: the carriers that the merchant's accounts speak for; what
    others share, and shapes that nobody documents, count only there. `named`: the carriers that the order's service names. `habit`: how many parcels of the shop are of each carrier.
    """
    number, habit = clean(number), habit or {}
    best: dict[str, Guess] = {}
    for guess in _guesses(number, country, spoken):
        if (before := best.get(guess.carrier)) is None or _RANK[guess.check] < _RANK[before.check]:
            best[guess.carrier] = guess
    places = {carrier: place for place, carrier in enumerate(best)}

    def rank(guess: Guess) -> tuple[bool, bool, int, int, int]:
        kind = _RANK[guess.check]
        return not guess.possible, guess.carrier not in named, kind, -habit.get(guess.carrier, 0), places[guess.carrier]

    return tuple(_with_more(guess, named, habit) for guess in sorted(best.values(), key=rank))


def believed(number: str, *, country: str = "", spoken: Collection[str] = (), any_carrier: bool = False) -> str | None:
    """Return the carrier of a number where only one is possible and its format is known; None: a scan decides.

    `any_carrier`: somebody who may be asked tells of any carrier. Then a few digits alone prove nothing where nobody speaks for
    that carrier by name: one AWB of twelve digits in eleven fits FedEx's check digit, whichever of an aggregator's carriers it is of.
    """
    found = [guess for guess in recognize(number, country=country, spoken=spoken) if guess.possible]
    if len(found) != 1 or found[0].check not in ("fits", "none"):
        return None
    digits = clean(number)
    unproved = any_carrier and found[0].carrier not in spoken and len(digits) <= FEW_DIGITS and digits.isdecimal()
    return None if unproved else found[0].carrier


def _guesses(number: str, country: str, spoken: Collection[str]) -> Iterator[Guess]:
    for carrier, shape, right in shapes_of(number):
        check: Check = "none" if right is None else "fits" if right else "wrong"
        why: tuple[str, ...] = (_SAID[check],)
        if shape.carrier == "post":
            why += (f"its country is {number[-2:]}",)
        yield Guess(carrier, shape.name, check, why)
        if right is False:
            continue
        for other, product in SHARED.get(shape.name, {}).items():
            if other in spoken:
                yield Guess(other, f"{shape.name} ({product})", "shared", (_SAID["shared"],))
        there = POSTS.get(country)
        if shape.carrier == "post" and there is not None and there != carrier and there in spoken:
            yield Guess(there, shape.name, "shared", (f"the post of {country}, where the order goes",))
    sure = not number.isdigit() and any(right for _, _, right in shapes_of(number))
    for carrier, pattern in LIKELY.items() if not sure else ():  # letters and a check digit that fits are no chance
        if carrier in spoken and pattern.fullmatch(number):
            yield Guess(carrier, "usual shape", "likely", (_SAID["likely"],))


def _with_more(guess: Guess, named: Collection[str], habit: Mapping[str, int]) -> Guess:
    """Return a guess with what else speaks for it."""
    more = ["the order's service names it"] if guess.carrier in named else []
    if many := habit.get(guess.carrier, 0):
        more.append(f"open parcels of the store that are of it: {many}")
    return Guess(guess.carrier, guess.shape, guess.check, (*guess.why, *more)) if more else guess
