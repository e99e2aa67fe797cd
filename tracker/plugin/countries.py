"""Countries as carriers print them."""

from __future__ import annotations

# ISO 3166-1, alpha-3 and alpha-2 of each, read 2026-11; XKX/XK is what carriers use for Kosovo
_PRINTED = """
ABW AW AFG AF AGO AO AIA AI ALA AX ALB AL AND AD ARE AE ARG AR ARM AM ASM AS ATA AQ ATF TF ATG AG AUS AU AUT AT AZE AZ BDI BI BEL BE BEN BJ BES BQ
BFA BF BGD BD BGR BG BHR BH BHS BS BIH BA BLM BL BLR BY BLZ BZ BMU BM BOL BO BRA BR BRB BB BRN BN BTN BT BVT BV BWA BW CAF CF CAN CA CCK CC CHE CH
CHL CL CHN CN CIV CI CMR CM COD CD COG CG COK CK COL CO COM KM CPV CV CRI CR CUB CU CUW CW CXR CX CYM KY CYP CY CZE CZ DEU DE DJI DJ DMA DM DNK DK
DOM DO DZA DZ ECU EC EGY EG ERI ER ESH EH ESP ES EST EE ETH ET FIN FI FJI FJ FLK FK FRA FR FRO FO FSM FM GAB GA GBR GB GEO GE GGY GG GHA GH GIB GI
GIN GN GLP GP GMB GM GNB GW GNQ GQ GRC GR GRD GD GRL GL GTM GT GUF GF GUM GU GUY GY HKG HK HMD HM HND HN HRV HR HTI HT HUN HU IDN ID IMN IM IND IN
IOT IO IRL IE IRN IR IRQ IQ ISL IS ISR IL ITA IT JAM JM JEY JE JOR JO JPN JP KAZ KZ KEN KE KGZ KG KHM KH KIR KI KNA KN KOR KR KWT KW LAO LA LBN LB
LBR LR LBY LY LCA LC LIE LI LKA LK LSO LS LTU LT LUX LU LVA LV MAC MO MAF MF MAR MA MCO MC MDA MD MDG MG MDV MV MEX MX MHL MH MKD MK MLI ML MLT MT
MMR MM MNE ME MNG MN MNP MP MOZ MZ MRT MR MSR MS MTQ MQ MUS MU MWI MW MYS MY MYT YT NAM NA NCL NC NER NE NFK NF NGA NG NIC NI NIU NU NLD NL NOR NO
NPL NP NRU NR NZL NZ OMN OM PAK PK PAN PA PCN PN PER PE PHL PH PLW PW PNG PG POL PL PRI PR PRK KP PRT PT PRY PY PSE PS PYF PF QAT QA REU RE ROU RO
RUS RU RWA RW SAU SA SDN SD SEN SN SGP SG SGS GS SHN SH SJM SJ SLB SB SLE SL SLV SV SMR SM SOM SO SPM PM SRB RS SSD SS STP ST SUR SR SVK SK SVN SI
SWE SE SWZ SZ SXM SX SYC SC SYR SY TCA TC TCD TD TGO TG THA TH TJK TJ TKL TK TKM TM TLS TL TON TO TTO TT TUN TN TUR TR TUV TV TWN TW TZA TZ UGA UG
UKR UA UMI UM URY UY USA US UZB UZ VAT VA VCT VC VEN VE VGB VG VIR VI VNM VN VUT VU WLF WF WSM WS XKX XK YEM YE ZAF ZA ZMB ZM ZWE ZW
"""
_ALPHA2 = dict(zip(_PRINTED.split()[::2], _PRINTED.split()[1::2], strict=True))
_TWO = frozenset(_ALPHA2.values())


def alpha2(code: str) -> str:
    """Return the two letters of a country of which three were printed; two stay as they are, anything else is empty."""
    code = code.strip().upper()
    return code if len(code) == 2 and code.isalpha() and code.isascii() else _ALPHA2.get(code, "")


_NAMES = {  # as carriers print them in English and German; "Georgia" and others that are a state too are left out
    "AE": "United Arab Emirates;Vereinigte Arabische Emirate", "AR": "Argentina;Argentinien", "AT": "Austria;Österreich",
    "AU": "Australia;Australien", "BE": "Belgium;Belgien", "BG": "Bulgaria;Bulgarien", "BH": "Bahrain", "BR": "Brazil;Brasilien",
    "CA": "Canada;Kanada", "CH": "Switzerland;Schweiz", "CL": "Chile", "CN": "China;China, Peoples Republic;China, Volksrepublik",
    "CO": "Colombia;Kolumbien", "CY": "Cyprus;Zypern", "CZ": "Czech Republic;Czech Republic, The;Czechia;Tschechien;Tschechische Republik",
    "DE": "Germany;Deutschland", "DK": "Denmark;Dänemark", "EE": "Estonia;Estland", "EG": "Egypt;Ägypten", "ES": "Spain;Spanien",
    "FI": "Finland;Finnland", "FR": "France;Frankreich", "GB": "United Kingdom;UK;Great Britain;Großbritannien;Vereinigtes Königreich",
    "GR": "Greece;Griechenland", "HK": "Hong Kong;Hong Kong SAR, China;Hongkong", "HR": "Croatia;Kroatien", "HU": "Hungary;Ungarn",
    "ID": "Indonesia;Indonesien", "IE": "Ireland;Ireland, Republic Of;Irland", "IL": "Israel", "IN": "India;Indien", "IS": "Iceland;Island",
    "IT": "Italy;Italien", "JP": "Japan", "KR": "South Korea;Korea, Republic Of;Korea, Republic Of (South K.);Südkorea",
    "KW": "Kuwait", "LI": "Liechtenstein", "LT": "Lithuania;Litauen", "LU": "Luxembourg;Luxemburg", "LV": "Latvia;Lettland",
    "MA": "Morocco;Marokko", "MO": "Macau;Macau SAR, China", "MT": "Malta", "MX": "Mexico;Mexiko", "MY": "Malaysia",
    "NL": "Netherlands;Netherlands, The;The Netherlands;Niederlande", "NO": "Norway;Norwegen", "NZ": "New Zealand;Neuseeland",
    "PE": "Peru", "PH": "Philippines;Philippines, The;Philippinen", "PL": "Poland;Polen", "PR": "Puerto Rico", "PT": "Portugal", "QA": "Qatar;Katar",
    "RO": "Romania;Rumänien", "RS": "Serbia;Serbia, Republic Of;Serbien",
    "RU": "Russia;Russian Federation;Russian Federation, The;Russland", "SA": "Saudi Arabia;Saudi-Arabien", "SE": "Sweden;Schweden",
    "SG": "Singapore;Singapur", "SI": "Slovenia;Slowenien", "SK": "Slovakia;Slowakei", "TH": "Thailand", "TR": "Turkey;Türkiye;Turkiye;Türkei",
    "TW": "Taiwan;Taiwan, China", "UA": "Ukraine", "US": "United States;United States Of America;USA;Vereinigte Staaten",
    "VN": "Vietnam;Viet Nam", "ZA": "South Africa;Südafrika",
}  # fmt: skip
_BY_NAME = {name.casefold(): letters for letters, names in _NAMES.items() for name in names.split(";")}


def named(name: str) -> str:
    """Return the two letters of a country by a name that carriers print (English, German); empty where it is none of them."""
    return _BY_NAME.get(name.strip().casefold(), "")


def area(printed: str, country: str = "") -> tuple[str, str]:
    """Return city and country of a place with its country behind a dash: `SYDNEY-AU`, `MILAN - ITALY`.

    `country` is what else tells it. What stands behind the last dash and is no country belongs to the city.
    """
    city, dash, last = printed.rpartition("-")
    last = last.strip()
    there = named(last)  # before the letters: UK is a name, and no code
    if not there and last.isupper() and (two := alpha2(last)) in _TWO:
        there = two
    return (city.strip(), country or there) if dash and there else (printed, country)
