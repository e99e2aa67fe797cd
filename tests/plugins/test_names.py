"""Carriers are called by one table: what every shop and aggregator says of each, and what cannot stand in it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from tracker.domain.formats import FORMATS, POSTS
from tracker.plugin.contracts import Platform, declared
from tracker.plugin.names import EVERYBODY, Names, Word, meanings, names, read_words, spelt, where

HEAD = "carrier,said_by,word,call,evidence\n"
SAID = {  # what the platforms call the carriers that most shops ship with
    ("shopify",): {
        "UPS": "ups", "USPS": "usps", "FedEx": "fedex", "DHL Express": "dhl", "DHL eCommerce": "dhl", "DHL": "dhl",
        "Royal Mail": "royalmail", "Canada Post": "canadapost", "Delhivery": "delhivery", "Hermes": "hermes_germany",
        "Deutsche Post (DE)": "dhl", "DPD Local": "dpd_uk", "Sagawa (JA)": "sagawa",
    },
    ("bigcommerce", "aftership"): {
        "ups": "ups", "usps": "usps", "fedex": "fedex", "dhl": "dhl", "royal-mail": "royalmail", "royalmail": "royalmail",
        "canada-post": "canadapost", "canadapost": "canadapost", "delhivery": "delhivery", "auspost": "australiapost",
        "upsready": "ups", "dhl-germany": "dhl", "hermes-de": "hermes_germany", "hermes": "evri",
    },
    ("magento",): {"ups": "ups", "usps": "usps", "fedex": "fedex", "dhl": "dhl", "custom": None},
    ("woocommerce",): {
        "ups": "ups", "usps": "usps", "fedex": "fedex", "dhl": "dhl", "royal-mail": "royalmail", "canada-post": "canadapost",
        "other": None,
    },
    ("walmart",): {
        "UPS": "ups", "USPS": "usps", "FedEx": "fedex", "FDX": "fedex", "DHL": "dhl", "DHL Ecommerce - US": "dhl", "LS": "lasership",
        "Royal Mail": "royalmail", "Canada Post": "canadapost",
    },
    ("ebay",): {
        "UPS": "ups", "USPS": "usps", "FedEx": "fedex", "DHL": "dhl", "Royal Mail": "royalmail", "CanadaPost": "canadapost",
        "DEUTSCHE_POST": "dhl", "BELGIANPOST": "bpost",
    },
    ("easypost",): {"DHLExpress": "dhl", "UPSDAP": "ups", "FedexSmartPost": "fedex", "DPDUK": "dpd_uk", "RoyalMail": "royalmail"},
    ("seventeen_track",): {"100002": "ups", "100003": "fedex", "21051": "usps", "7041": "dhl", "100001": "dhl", "11031": "royalmail", "999": None},
    ("scac",): {"UPSN": "ups", "FXFE": "fedex", "ODFL": "olddominion"},
    (): {"Hermes": None, "100002": None, "FDX": None, "": None, "---": None},
}  # fmt: skip


def reader(*vocabulary: str) -> Names:
    return names(meanings(read_words()), vocabulary)


def meant(known: Names, word: str) -> str | None:
    return known.known.get(word.lower()) or known.known.get(spelt(word))


@pytest.mark.parametrize("vocabulary", SAID, ids="+".join)
def test_every_word_of_a_shop_or_aggregator_means_its_carrier(vocabulary: tuple[str, ...]) -> None:
    known = reader(*vocabulary)

    assert {word: meant(known, word) for word in SAID[vocabulary]} == SAID[vocabulary]


def test_each_carrier_that_a_number_or_an_installed_plugin_names_is_in_the_table() -> None:
    ids = {word.carrier for word in read_words()}

    assert {shape.carrier for shape in FORMATS} - {"post"} <= ids
    assert {*POSTS.values()} <= ids
    assert {
        "ups",
        "usps",
        "fedex",
        "dhl",
        "canadapost",
        "royalmail",
        "australiapost",
        "postnl",
        "evri",
        "bluedart",
        "delhivery",
    } <= ids


@pytest.mark.parametrize("word", ["Royal Mail", "royal-mail", "ROYAL_MAIL", "RoyalMail", " royal mail.", "royalmail"])
def test_a_word_means_the_same_however_it_is_spelt(word: str) -> None:
    assert meant(reader(), word) == "royalmail"


def test_what_we_say_to_an_aggregator_is_its_own_word_or_nothing() -> None:
    easypost, track = reader("easypost").words, reader("seventeen_track").words

    assert (easypost["dhl"], easypost["canadapost"], easypost["ups"]) == ("DHLExpress", "CanadaPost", "UPS")
    assert (track["ups"], track["royalmail"], track.get("dhl")) == (
        "100002",
        "11031",
        None,
    )  # which of the DHLs nobody knows
    assert reader().words == {}


def test_no_row_says_what_the_others_say_already() -> None:
    words = read_words()
    every = {spelt(word.word): word.carrier for word in words if word.said_by == EVERYBODY}
    idle = [
        f"{word.place}: {word.word}"
        for word in words
        if word.said_by and not word.call and every.get(spelt(word.word)) == word.carrier
    ]

    assert idle == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("Royal Mail,,Royal Mail,,x", "'Royal Mail' is no id: small letters, digits and _"),
        ("ups,,-,,x", "has no word"),
        ("ups,,UPS,,", "'UPS' names no evidence"),
        ("ups,,UPS,yes,x", "call is `yes`, for a word of somebody's own, or empty"),
        ("ups,ebay,UPS,no,x", "call is `yes`, for a word of somebody's own, or empty"),
        ("ups,,UPS,x", "has more or fewer columns than the head of the table (a text with a comma stands in quotes)"),
        (
            "ups,,UPS,,x,y",
            "has more or fewer columns than the head of the table (a text with a comma stands in quotes)",
        ),
    ],
)
def test_a_row_that_cannot_stand_is_refused_with_its_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    file = tmp_path / "carriers.csv"
    file.write_text(f"{HEAD}fedex,,FedEx,,x\n{row}\n")

    with pytest.raises(ValueError, match="carriers") as refused:
        read_words(file)
    assert str(refused.value) == f"carriers.csv:3: {said}"


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "carriers.csv"
    file.write_text("id,word\nups,UPS\n")

    with pytest.raises(ValueError, match=r"^carriers\.csv:1: the columns are carrier, said_by, word, call, evidence$"):
        read_words(file)


def test_a_word_of_two_carriers_is_refused_with_both_places_however_it_is_spelt(tmp_path: Path) -> None:
    file = tmp_path / "carriers.csv"
    file.write_text(
        f"{HEAD}fedex,,FedEx,,x\nups,,fed-ex,,x\nups,ebay,Van,yes,x\nups,ebay,Bus,yes,x\nfedex,walmart,UPS,,x\n"
    )

    with pytest.raises(ValueError, match="one of the two must go") as refused:
        meanings(read_words(file))
    assert str(refused.value).splitlines() == [
        "carriers.csv:3: 'fed-ex' means the carrier ups, and fedex at carriers.csv:2: one of the two must go",
        "carriers.csv:5: 'Bus' is said in calls for ups, as is 'Van' at carriers.csv:4",
    ]


class Shop(Platform):
    """A shop of another package."""

    companies: ClassVar[Mapping[str, str]] = {
        "van man": "vanman",
        "The Evri": "ups",
    }


def test_the_words_of_another_package_are_its_own_where_it_tells_of_any_carrier_and_stand_at_their_line() -> None:
    found = declared(Shop)
    known = names(meanings((*read_words(), *found)), (Shop.__module__,))

    assert (meant(known, "Van-Man"), meant(reader(), "Van-Man"), meant(known, "DHL")) == ("vanman", None, "dhl")
    line = inspect.getsourcelines(Shop)[1] + 5
    said = f"test_names.py:{line}: 'The Evri' means the carrier ups, and evri at carriers.csv:1: one of the two must go"
    with pytest.raises(ValueError, match="means the carrier") as refused:
        meanings((Word("evri", Shop.__module__, "the evri", "carriers.csv:1"), *found))
    assert str(refused.value) == said


def test_a_word_of_a_class_whose_source_is_not_there_is_told_by_its_plugin() -> None:
    built = type("Built", (Shop,), {"__module__": "acme_shop"})

    assert where(Word("vanman", "acme_shop", "van man", built)) == "plugin acme_shop"
