"""Interchanges for tests: written from segments, and as trees that can be broken and written again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Twig = dict[str, Any]
ISA = "*".join(
    ["ISA", "00", " " * 10, "00", " " * 10, "02", "RDWY".ljust(15), "ZZ", "SHIPPER".ljust(15), "261126", "1200", "U", "00401", "000000123",
     "0", "P", ">"]
) + "~"  # fmt: skip


def x12(messages: Iterable[Sequence[str]], release: str = "004010", nl: str = "\n") -> bytes:
    """Write an interchange of one group of 214s, counted right."""
    out, count = [ISA, f"GS*QM*RDWY*SHIPPER*20261126*1200*45*X*{release}~"], 0
    for count, message in enumerate(messages, 1):
        segments = [f"ST*214*{count:04}", *message]
        out += [f"{one}~" for one in (*segments, f"SE*{len(segments) + 1}*{count:04}")]
    return (nl.join([*out, f"GE*{count}*45~", "IEA*1*000000123~"]) + nl).encode("utf-8", "surrogatepass")


def iftsta(messages: Iterable[Sequence[str]], kind: str = "D:01B:UN:EAN004", nl: str = "\n") -> bytes:
    """Write an interchange of IFTSTA messages, counted right."""
    out, count = ["UNA:+.? '", "UNB+UNOC:3+4012345000009:14+5412345000013:14+261126:1200+REF42'"], 0
    for count, message in enumerate(messages, 1):
        segments = [f"UNH+{count}+IFTSTA:{kind}", *message]
        out += [f"{one}'" for one in (*segments, f"UNT+{len(segments) + 1}+{count}")]
    return (nl.join([*out, f"UNZ+{count}+REF42'"]) + nl).encode("utf-8", "surrogatepass")


def _word(value: Any) -> str:
    """Print a leaf; what is no text is printed as nobody's, and not as Python does."""
    return value if isinstance(value, str) else "" if value in (None, [], {}) else f"!{type(value).__name__}"


def _rows(value: Any, name: str) -> list[Any]:
    rows = value.get(name) if isinstance(value, dict) else None
    return rows if isinstance(rows, list) else []


def x12_load(body: bytes) -> Twig:
    """Read a 214 of stops with scans, each with its place, and a number at its end."""
    segments = [one.strip().split("*") for one in body.decode().split("~")]
    at = next(i for i, one in enumerate(segments) if one[0] == "LX")
    loops: list[Twig] = []
    for name, *rest in segments[at:]:
        if name == "LX":
            loops.append({"scans": [], "number": ""})
        elif name == "AT7":
            loops[-1]["scans"].append(
                dict(zip(("status", "why", "day", "clock", "zone"), (rest[i] for i in (0, 1, 4, 5, 6)), strict=True))
            )
        elif name == "MS1":
            loops[-1]["scans"][-1] |= dict(zip(("city", "state", "country"), rest, strict=True))
        elif name == "L11":
            loops[-1]["number"] = rest[0]
    return {"kind": "x12", "head": ["*".join(one) for one in segments[3:at]], "loops": loops}


def x12_dump(tree: Twig) -> bytes:
    """Write such a 214 again."""
    said = list(tree["head"])
    for loop in tree["loops"]:
        if not isinstance(loop, dict):
            said += ["LX*1", f"AT7*{_word(loop)}"] if loop not in (None, "", [], {}) else []
            continue
        said.append("LX*1")
        scans = loop.get("scans")
        for one in scans if isinstance(scans, list) else [] if scans in (None, "", {}) else [scans]:
            if isinstance(one, dict):
                at7 = [_word(one.get(name)) for name in ("status", "why", "", "", "day", "clock", "zone")]
                said += [
                    "*".join(["AT7", *at7]),
                    "*".join(["MS1", *(_word(one.get(n)) for n in ("city", "state", "country"))]),
                ]
            elif one not in (None, "", [], {}):
                said.append(f"AT7*****{_word(one)}")
        said.append(f"L11*{_word(loop.get('number'))}*2I")
    return x12([said])


def _escaped(value: Any) -> str:
    word = _word(value)
    return "".join(f"?{letter}" if letter in "?:+'" else letter for letter in word)


def iftsta_load(body: bytes) -> Twig:
    """Read an IFTSTA of consignments with statuses, each with a time and a place."""
    segments = [one.strip().split("+") for one in body.decode().split("'")]
    at = next(i for i, one in enumerate(segments) if one[0] == "CNI")
    cnis: list[Twig] = []
    for name, *rest in segments[at:]:
        if name == "CNI":
            cnis.append({"number": rest[1], "statuses": []})
        elif name == "STS":
            why = rest[2].split(":")[0] if len(rest) > 2 else ""
            cnis[-1]["statuses"].append({"status": rest[1].split(":")[0], "why": why})
        elif name == "DTM":
            cnis[-1]["statuses"][-1]["time"] = rest[0].split(":")[1]
        elif name == "LOC":
            code, _, _, city = rest[1].split(":")
            cnis[-1]["statuses"][-1] |= {"locode": code, "city": city}
    return {"kind": "iftsta", "head": ["+".join(one) for one in segments[3:at]], "cnis": cnis}


def iftsta_dump(tree: Twig) -> bytes:
    """Write such an IFTSTA again."""
    said = list(tree["head"])
    for cni in tree["cnis"]:
        if not isinstance(cni, dict):
            said += ["CNI+1", f"STS+1+{_escaped(cni)}"] if cni not in (None, "", [], {}) else []
            continue
        said.append(f"CNI+1+{_escaped(cni.get('number'))}")
        statuses = cni.get("statuses")
        for one in statuses if isinstance(statuses, list) else [] if statuses in (None, "", {}) else [statuses]:
            if isinstance(one, dict):
                status, why, time, code, city = (
                    _escaped(one.get(n)) for n in ("status", "why", "time", "locode", "city")
                )
                said += [f"STS+1+{status}::6+{why}::6", f"DTM+334:{time}:203", f"LOC+14+{code}::6:{city}"]
            elif one not in (None, "", [], {}):
                said.append(f"STS+1++{_escaped(one)}")
    return iftsta([said])
