"""Who may be asked about a parcel of a store: the accounts of its carrier, or of those that its number could be of, the likeliest first."""

from __future__ import annotations

from collections.abc import Mapping

from tracker.config.model import Config
from tracker.domain.choice import Candidate
from tracker.domain.recognition import believed, recognize


def spoken(config: Config, store: str) -> frozenset[str]:
    """Return the carriers that a store's accounts speak for by name; of all accounts where the store names none."""
    entry = config.account(store)
    named = entry.ships_with if entry is not None else ()
    return frozenset(
        carrier for one in config.carrier_accounts() if not named or one.name in named for carrier in one.speaks
    )


def believed_for(config: Config, number: str, store: str, country: str = "") -> str | None:
    """Return the carrier of a number that nobody told, as far as its shape proves it to a store; None: a scan decides."""
    any_carrier = bool(config.candidates(None, store))
    return believed(number, country=country, spoken=spoken(config, store), any_carrier=any_carrier)


def named_in(config: Config, store: str, service: str) -> frozenset[str]:
    """Return the carriers that a shop's word for a service names, such as `FedEx Ground Economy`: by one to three words in a row."""
    entry, words = config.account(store), service.split()[:12]
    if entry is None or not entry.is_store:
        return frozenset()
    runs = (" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, min(i + 4, len(words) + 1)))
    return frozenset(carrier for run in runs if (carrier := entry.source.carrier_of(run)) is not None)


def _guessed(
    config: Config,
    number: str,
    store: str,
    country: str,
    service: str,
    habit: Mapping[str, int] | None,
) -> tuple[Candidate, ...]:
    """Return the accounts that may be asked about a number, direct ones first, then those that tell of any; one is asked at a time.

    `country`, `habit`: as `recognize` takes them; `service`: the shop's word for the order's delivery.
    """
    found: dict[str, Candidate] = {}
    named = named_in(config, store, service)
    for guess in recognize(number, country=country, spoken=spoken(config, store), named=named, habit=habit):
        direct = config.speakers(guess.carrier)[0]
        for one in config.candidates(guess.carrier, store) if guess.possible and direct else ():
            if one.account in direct and config.accounts[one.account].is_asked:
                said = f"the number could be of {guess.carrier} ({guess.shape}: {guess.why[0]})"
                found.setdefault(one.account, Candidate(one.account, said))
    for one in config.candidates(None, store):
        found.setdefault(one.account, one)
    return tuple(found.values())


def may_be_asked(
    config: Config,
    carrier: str | None,
    number: str,
    store: str,
    country: str = "",
    service: str = "",
    habit: Mapping[str, int] | None = None,
) -> tuple[Candidate, ...]:
    """Return the accounts that may be asked about a parcel of a store, who is asked first comes first.

    Where nobody told its carrier (None) those of the carriers that it could be of, by where the order goes, its service and what the
    store ships with: one at a time, until a scan decides. Of a known carrier those come first whose plugin tells of numbers of that shape: its divisions have interfaces of their own.
    """
    if carrier is None:
        return _guessed(config, number, store, country, service, habit)

    def odd(one: Candidate) -> bool:
        shapes = config.accounts[one.account].carrier.shapes
        return shapes is not None and shapes.fullmatch(number) is None

    return tuple(sorted(config.candidates(carrier, store), key=odd))
