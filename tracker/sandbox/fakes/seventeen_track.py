"""17TRACK: numbers are registered first, each for a unit of the quota; signed pushes, polls, stop and retrack."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier, Clock, Outgoing, as_json
from tracker.sandbox.scenario import Fault, Scan

FIRST_ANSWER = timedelta(minutes=5)  # before it, they asked nobody yet
QUOTA = 200
USPS, UPS, CHINA_POST = 21051, 100002, 3011

Said = tuple[dict[str, Any], int, str]  # what of a number, a code (0: accepted), and words


@dataclass
class Record:
    """A number that was registered."""

    carrier: int
    registered_at: datetime
    stopped: bool = False
    retracked: bool = False


class SeventeenTrackServer(Carrier):
    """17TRACK's API v2.2 and its webhooks, which the access key signs."""

    knows = frozenset({"fault stop_tracking", "fault spend_quota", "fault refuse_number"})

    def __init__(self, account: str, clock: Clock, *, key: str = "right", hook: str = "") -> None:
        """Nothing is registered yet."""
        super().__init__(account, clock, key=key, hook=hook)
        self.records: dict[str, Record] = {}
        self.units: dict[str, int] = defaultdict(int)  # spent, by number
        self.quota = QUOTA

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        each = {
            "register": self._register, "gettrackinfo": self._info, "stoptrack": self._stop, "retrack": self._retrack,
        }  # fmt: skip
        routes = [Route(f"/{name}", self._of_each(name, do), methods=["POST"]) for name, do in each.items()]
        return [*routes, Route("/getquota", self._get_quota, methods=["POST"])]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": base_url, "api_key": key}

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("17token") != self.key:
            return self._failed(-18010002, "Invalid security key.", 401)
        return self.trouble()

    def _failed(self, code: int, said: str, status: int = 200) -> Response:
        return as_json({"code": code, "data": {"errors": [{"code": code, "message": said}]}}, status)

    def _of_each(self, name: str, do: Callable[[dict[str, Any]], Said]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            if (refused := self._refused(request)) is not None:
                return refused
            self.calls["track" if name == "gettrackinfo" else name] += 1
            items = orjson.loads(await request.body())
            if len(items) > 40:
                self.complaints.append(f"{len(items)} numbers in a call of {name}")
                return self._failed(-18010014, "Tracking numbers exceed the 40 limit.")
            accepted, rejected = [], []
            for item in items:
                what, code, said = do(item)
                if code:
                    rejected.append({"number": item["number"], "error": {"code": code, "message": said}})
                else:
                    accepted.append({"number": item["number"], **what})
            return as_json({"code": 0, "data": {"accepted": accepted, "rejected": rejected}})

        return answer

    async def _get_quota(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["getquota"] += 1
        left = 0 if self.faults.take("spend_quota") else self.quota - sum(self.units.values())
        return as_json(
            {"code": 0, "data": {"quota_total": self.quota, "quota_used": self.quota - left, "quota_remain": left}}
        )

    def _register(self, item: dict[str, Any]) -> Said:
        number, carrier = item["number"], item.get("carrier")
        if item.keys() & {"email", "lang"}:
            self.complaints.append(f"{number} is registered with {', '.join(item)}")
        known = self.records.get(number)
        if known is not None and carrier in (None, known.carrier):
            return {}, -18019901, f"Tracking number {number} is already registered."
        if not 5 <= len(number) <= 50 or self.faults.take("refuse_number"):
            return {}, -18010012, f"The format of '{number}' is invalid."
        if sum(self.units.values()) >= self.quota or self.faults.take("spend_quota"):
            return {}, -18019908, "Your quota is used up."
        self.units[number] += 1
        if self.units[number] > 1:
            self.complaints.append(f"{number} was registered for a second unit")
        self.records[number] = Record(carrier or self._detect(number), self.clock())
        return {"origin": 2 if carrier else 1, "carrier": self.records[number].carrier, "tag": None}, 0, ""

    def _detect(self, number: str) -> int:
        return UPS if number.startswith("1Z") else USPS if number.startswith("9") else CHINA_POST

    def _known(self, item: dict[str, Any]) -> Record | None:
        record = self.records.get(item["number"])
        return record if record is not None and item.get("carrier") in (None, 0, record.carrier) else None

    def _info(self, item: dict[str, Any]) -> Said:
        record = self._known(item)
        if record is None:
            return {}, -18019902, "The number is not registered."
        if self.clock() < record.registered_at + FIRST_ANSWER:
            return {}, -18019909, "No tracking information at this time."
        return self._tracked(item["number"], record), 0, ""

    def _stop(self, item: dict[str, Any]) -> Said:
        record = self._known(item)
        if record is None or record.stopped:
            return {}, -18019906, "Only tracked numbers can be stopped."
        record.stopped = True
        return {"carrier": record.carrier}, 0, ""

    def _retrack(self, item: dict[str, Any]) -> Said:
        record = self._known(item)
        if record is None:
            return {}, -18019902, "The number is not registered."
        if not record.stopped:
            return {}, -18019904, "Only stopped numbers can be tracked again."
        if record.retracked:
            return {}, -18019905, "A number can be tracked again only once."
        record.stopped, record.retracked = False, True
        return {"carrier": record.carrier}, 0, ""

    def _tracked(self, number: str, record: Record) -> dict[str, Any]:
        scans = self.newest_first(number)
        events = [_event(scan) for scan in scans if not scan.get("head")]
        latest = {"status": scans[0]["type"], "sub_status": scans[0]["code"] or None} if scans else None
        provider = {
            "provider": {"key": record.carrier, "name": "A carrier", "country": None}, "latest_sync_status": "Success",
            "latest_sync_time": self.clock().strftime("%Y-%m-%dT%H:%M:%SZ"), "events_hash": len(events), "events": events,
        }  # fmt: skip
        return {
            "carrier": record.carrier, "param": None, "tag": None,
            "track_info": {
                "latest_status": latest or {"status": "NotFound", "sub_status": "NotFound_Other"}, "latest_event": None,
                "time_metrics": {"estimated_delivery_date": {"source": None, "from": None, "to": None}}, "milestone": [],
                "misc_info": {"local_number": None, "local_key": 0}, "tracking": {"providers": [provider] if scans else []},
            },
        }  # fmt: skip

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the event that holds all that is known of a number; nobody is told of one that is not tracked."""
        record = self.records.get(action.number)
        if record is None or record.stopped:
            return None
        if action.via == "webhook":
            self.history[action.number].append(scan)
        told = {"number": action.number, **self._tracked(action.number, record)}
        if action.via == "webhook" and action.webhook.signed != "right":
            self.history[action.number].remove(scan)
        return self.signed(orjson.dumps({"event": "TRACKING_UPDATED", "data": told}))

    def on_fault(self, action: Fault, at: datetime) -> None:
        """Do wrong from now on; `stop_tracking`: stop all that is tracked, and say so."""
        if action.kind != "stop_tracking":
            super().on_fault(action, at)
            return
        for number, record in self.records.items():
            if not record.stopped:
                record.stopped = True
                told = {"number": number, "carrier": record.carrier, "tag": None}
                self.outgoing.append(self.signed(orjson.dumps({"event": "TRACKING_STOPPED", "data": told})))

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Sign any body as 17TRACK does: by the access key itself."""
        sign = hashlib.sha256(body + b"/" + (secret or self.key).encode()).hexdigest()
        return Outgoing(self.account, body, {"content-type": "application/json", "sign": sign})


def _event(scan: dict[str, Any]) -> dict[str, Any]:
    at, zoned = scan["at"], scan["zoned"]
    return {
        "time_iso": at.isoformat(timespec="seconds") if zoned else None,
        "time_utc": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if zoned else None,
        "time_raw": {"date": f"{at:%Y-%m-%d}", "time": f"{at:%H:%M:%S}", "timezone": at.isoformat()[-6:] if zoned else None},
        "description": scan["text"], "location": scan["city"] or None, "stage": None, "sub_status": scan["code"] or None,
        "address": {"country": scan["country"] or None, "state": scan["region"] or None, "city": scan["city"] or None},
    }  # fmt: skip
