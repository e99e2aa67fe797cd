"""What the YAML may say, and the accounts that the rest of the program works with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from tracker.config.addresses import reached
from tracker.config.cadences import CadencePart, RootCadence, cadence_of
from tracker.config.inside import Api, Mcp, Page
from tracker.config.mail import MailPart, StoreMail
from tracker.config.places import FilesPart, FolderPart, FolderSetting, SftpPart
from tracker.config.presets import Duration, PolicyPart, Words, spell
from tracker.config.telling import Notices, TargetPart, Telling, told_of_findings
from tracker.config.yamlfile import Problem
from tracker.domain.cadence import DEFAULT, Cadence
from tracker.domain.choice import Candidate, pick
from tracker.domain.errors import ConfigError
from tracker.domain.facts import Meaning, Parcels, Since
from tracker.domain.masking import Hidden
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import Reason, ShippingStatus
from tracker.hashing import digest
from tracker.plugin.contracts import Carrier, Platform, Secrets

if TYPE_CHECKING:
    from tracker.config.wording import Wording


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Web(_Part):
    """The receiver: where carriers and shops post to."""

    public_url: str | None = Field(
        None,
        description="Where senders reach the receiver, such as https://tracker.example.com: hooks are made and audited.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on; put a TLS proxy in front.")
    port: int = Field(8080, ge=0, le=65535)
    ops_host: str = Field("127.0.0.1", description="Address of /metrics; keep it private.")
    ops_port: int = Field(8081, ge=0, le=65535)
    max_body: int = Field(1 << 20, ge=1024, le=64 << 20, description="Largest body in bytes.")
    header_timeout: Duration = timedelta(seconds=10)
    request_timeout: Duration = timedelta(seconds=30)
    connections_per_address: int = Field(256, ge=1)

    @field_validator("public_url")
    @classmethod
    def _is_reached(cls, value: str | None) -> str | None:
        """Refuse an address to which no shop posts."""
        return reached(value) if value is not None else None


class Network(_Part):
    """Where we may call."""

    allow: tuple[str, ...] = Field((), description="Hosts that may be private, loopback or plain http.")
    timeout: Duration = Field(timedelta(seconds=20), le=timedelta(seconds=25), description="Of a call; 25 s at most.")


class Retention(_Part):
    """How long things are kept."""

    bodies: Duration = timedelta(days=30)
    proof_bodies: Duration = timedelta(days=180)
    rows: Duration = timedelta(days=90)
    unmatched: Duration = timedelta(days=45)
    personal: Duration | None = None


class BudgetPart(_Part):
    """The limits of an account; each key that is left out is as its plugin states it."""

    calls: int | None = Field(None, ge=1, description="Requests in any span `per`, of all stores and processes.")
    per: Duration | None = Field(None, gt=timedelta(0))
    side_by_side: int | None = Field(None, ge=1, le=256, description="Requests at once, in one process.")
    tokens: Literal["counted", "free"] | None = Field(
        None, description="Whether asking for an access token is one of `calls`."
    )


class Budget(_Part):
    """How many calls an account may make in any span of so long: of all stores and processes together, every request counts."""

    calls: int = Field(ge=1)
    per: Duration


class MeaningPart(_Part):
    """The meaning of one code, set by the merchant."""

    status: ShippingStatus | None = None
    reason: Reason | None = None


class CarrierPart(_Part):
    """What every carrier account has; the plugin's own settings stand beside it."""

    uses: str = Field(description="The plugin: a module of carriers/ or an installed one.")
    webhook_token: Secrets = Field((), description="Secret part of the webhook address, 128 bit or more.")
    tracks: tuple[str, ...] | None = Field(None, description="Carriers this account watches.")
    budget: BudgetPart | None = None
    cadence: CadencePart = Field(CadencePart(), description="How often its parcels are asked about; beats `cadence:`.")
    sweep_every: Duration | None = Field(None, description="How often its feed is read; by its plugin if not said.")
    codes: Mapping[str, MeaningPart] = Field({}, description="Meanings by `space/code`; they beat the plugin's table.")
    folder: FolderSetting = Field(None, description="Where its files are put: a path, or a path with settings.")
    sftp: SftpPart | None = Field(None, description="The server of its carrier, from which its files are fetched.")


class StorePart(_Part):
    """What every store has; the plugin's own settings stand beside it."""

    uses: str = Field(description="The plugin: a module of adapters/ or an installed one.")
    mode: Literal["observe", "write"] = Field("observe", description="observe decides and records, and writes nothing.")
    policy: PolicyPart = PolicyPart()
    webhook_token: Secrets = ()
    sweep_every: Duration = timedelta(minutes=10)
    writes_per_hour: int = Field(1000, ge=0)
    budget: BudgetPart | None = None
    mail: StoreMail = StoreMail()
    keep_proofs: bool = Field(False, description="Fetch the document of each delivery, such as a signature; keep it.")
    accounts: Words = Field(
        (), description="Carrier accounts it ships with, in order: who is asked about its parcels. All by default."
    )


class Watch(_Part):
    """When silence and slowness become findings about an account or a carrier."""

    webhooks_silent_after: Duration = timedelta(hours=24)
    webhooks_missing_share: float = Field(
        0.35,
        gt=0,
        le=1,
        description="This share of an account's scans of a day came by polls only: webhooks are missing;",
    )
    webhooks_missing_scans: int = Field(10, ge=1, description="of a day with so many scans or more.")
    slow_parcels: int = Field(20, ge=1, description="So many silent parcels of a carrier, and")
    slow_share: float = Field(
        0.3, gt=0, le=1, description="this share of its open ones: one finding, not one an order."
    )
    slow_after: Duration = timedelta(days=3)
    unmatched_after: Duration = timedelta(days=3)
    brake_leap: float = Field(
        4.0, ge=1.5, description="The share of journeys that end is so many times the usual one of its account, and"
    )
    brake_parcels: int = Field(
        8,
        ge=1,
        description="so many parcels more than usual ended today: what tells of ends is held (`tracker resume`).",
    )
    outage_after: Duration = Field(
        timedelta(minutes=15), description="Away for so long (FedEx gives up then): every open parcel is asked about."
    )


class Defaults(_Part):
    """What every entry of a section has that does not say it itself."""

    accounts: Mapping[str, Any] = Field({}, description="Of every carrier account whose plugin knows the key.")
    stores: Mapping[str, Any] = Field({}, description="Of every store whose plugin knows the key.")


VaultKeys = Annotated[
    Secrets,
    BeforeValidator(
        lambda given: (given,) if isinstance(given, str) else given, json_schema_input_type=str | list[str]
    ),
]


class Root(_Part):
    """The whole file."""

    include: Words = Field((), description="Files and folders that are read too, relative to this file.")
    defaults: Defaults = Defaults()

    database: str = Field("sqlite:///var/trackwright.db", description="SQLAlchemy URL.")
    broker: str = Field("none", description="none, or redis://host:port/db")
    database_wait: Duration = Field(timedelta(seconds=60), description="How long to try at start.")
    stuck_after: Duration = Field(
        timedelta(minutes=5),
        description="A payload that is read for so long ends its process; the supervisor starts another.",
    )
    cadence: RootCadence = Field(RootCadence(), description="How often parcels are asked about, where no account says.")
    threads: int = Field(4, ge=1, le=64)
    poll_threads: int = Field(
        64, ge=1, le=256, description="Calls to carriers and shops side by side in one process, writes apart."
    )
    vault_key: VaultKeys = Field(
        (), description="Key for tokens at rest (tracker init makes one); several while it is rotated."
    )
    web: Web = Web()
    network: Network = Network()
    retention: Retention = Retention()
    notices: Notices = Notices()
    mail: MailPart | None = Field(None, description="The server that takes mails to customers and operators.")
    telling: Telling = Telling()
    api: Api = Api()
    page: Page = Page()
    mcp: Mcp = Mcp()
    watch: Watch = Watch()
    accounts: Mapping[str, dict[str, Any]] = Field({}, description="Carrier accounts by name.")
    stores: Mapping[str, dict[str, Any]] = Field({}, description="Stores by name.")


@dataclass(frozen=True)
class Account:
    """One configured account or store, with its plugin bound."""

    name: str
    uses: str
    source: Carrier | Platform
    webhook_tokens: Secrets = ()
    budget: Budget | None = None
    side_by_side: int | None = None  # calls at once, in one process
    tokens: Literal["counted", "free"] = "counted"  # whether asking for an access token is a call of the budget
    limit_sources: Mapping[str, str] = field(default_factory=dict)  # where each limit is stated
    cadence: CadencePart = field(default_factory=CadencePart)
    cadence_sources: Mapping[str, str] = field(default_factory=dict)  # where each key of it is written
    credentials: str = ""  # a hash: tells that an operator changed them
    tracks: tuple[str, ...] | None = None
    codes: Mapping[tuple[str, str], Meaning] = field(default_factory=dict)
    mode: str = "observe"
    policy: Policy = field(default_factory=Policy)
    policy_hash: str = ""
    policy_sources: Mapping[str, str] = field(default_factory=dict)
    sweep_every: timedelta = timedelta(minutes=10)
    writes_per_hour: int = 1000
    mail: StoreMail = field(default_factory=StoreMail)
    keeps_proofs: bool = False  # of a store: documents that prove deliveries are fetched and kept
    ships_with: tuple[str, ...] = ()  # the carrier accounts that a store names, in order
    folder: FolderPart | None = None
    sftp: SftpPart | None = None

    @property
    def limits(self) -> str | None:
        """Say the limits, each with where it is stated; None: there are none."""
        budget, of = self.budget, self.limit_sources
        said = []
        if budget is not None:
            places = dict.fromkeys(of[key] for key in ("calls", "per", "tokens") if key in of)
            counted = "" if self.tokens == "counted" else ", token requests are free"
            said.append((f"{budget.calls} calls in {spell(budget.per)}{counted}", places))
        if self.side_by_side is not None:
            said.append((f"{self.side_by_side} side by side in a process", {of.get("side_by_side", ""): None}))
        return "; ".join(f"{what} ({', '.join(where)})" if any(where) else what for what, where in said) or None

    @property
    def is_store(self) -> bool:
        """Tell a store from a carrier account."""
        return isinstance(self.source, Platform)

    @property
    def has_feed(self) -> bool:
        """Tell whether a carrier account has a feed of what changed."""
        return not self.is_store and Since in self.source.asks

    @property
    def speaks(self) -> tuple[str, ...]:
        """Return the carriers whose parcels a carrier account may be asked about; none: of any."""
        return self.tracks if self.tracks is not None else self.carrier.carriers

    @property
    def files(self) -> FilesPart | None:
        """Return where its files come, and which they are; None where none is looked for."""
        return self.folder or self.sftp

    @property
    def is_asked(self) -> bool:
        """Say whether a carrier account can be asked about a parcel: one that tells by files only cannot."""
        return Parcels in self.source.asks

    @property
    def carrier(self) -> Carrier:
        """Return the plugin of a carrier account."""
        assert isinstance(self.source, Carrier)
        return self.source

    @property
    def platform(self) -> Platform:
        """Return the plugin of a store."""
        assert isinstance(self.source, Platform)
        return self.source


def hook_id(name: str) -> str:
    """Return what stands for an account's name in its webhook's address: hexadecimal digits, which spell no word."""
    return digest(name)[:16]


def held(words: Iterable[str], text: str) -> list[str]:
    """Return which of these words a text holds, in whatever case."""
    return [word for word in words if word in text.lower()]


@dataclass(frozen=True)
class Suspended:
    """An entry that is wrong: nothing is asked or written by it until it is mended, and the others go on."""

    name: str
    is_store: bool
    problems: tuple[Problem, ...]  # file:line:column: key: what to do
    receiver: Account | None = None  # what its webhooks are verified by; None: nobody can
    # the secrets of a configuration before, if it is by those
    hidden: tuple[Hidden, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        """Say it in one line."""
        return self.says("is suspended")

    def says(self, what: str) -> str:
        """Say in one line what becomes of it, and why."""
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        return f"{'store' if self.is_store else 'account'} {self.name} {what}: {self.problems[0]}{more}"


@dataclass(frozen=True)
class Config:
    """The configuration in force."""

    root: Root
    accounts: Mapping[str, Account]
    cadence_sources: Mapping[str, str] = field(default_factory=dict)  # where each key of `cadence:` is written
    file: str = ""
    hidden: Hidden = field(default_factory=Hidden, repr=False)  # what came from references, masked while this is held
    references: Mapping[tuple[str | int, ...], str] = field(default_factory=dict)  # where each stands, and to what
    notes: tuple[str, ...] = ()  # what is allowed, and `tracker check` tells
    files: tuple[str, ...] = ()  # the files and folders that the main file includes
    suspended: Mapping[str, Suspended] = field(default_factory=dict)  # the entries that are wrong, where others may run
    # wrong ones that go on by their settings of before
    as_before: Mapping[str, Suspended] = field(default_factory=dict)
    wording: Wording | None = field(
        default=None, compare=False, repr=False
    )  # the texts of mails; None: nobody is mailed

    def addressed(self, segment: str) -> str:
        """Return the account that a webhook's address means: by its name, or by the id that stands for it (`hook_id`)."""
        if segment in self.accounts or segment in self.suspended:
            return segment
        return self._hook_ids.get(segment, segment)

    def hook_address(self, account: Account) -> str:
        """Return where an account's webhooks are posted to, without its token: by its id where its name would be refused there."""
        name = hook_id(account.name) if held(account.source.shuns, account.name) else quote(account.name, safe="")
        return f"{self.root.web.public_url or 'https://YOUR-HOST'}/webhooks/{name}"

    @cached_property
    def _hook_ids(self) -> dict[str, str]:
        """Only who is addressed by what is no name needs it."""
        return {hook_id(name): name for name in (*self.accounts, *self.suspended)}

    def receiver(self, name: str) -> Account | None:
        """Return what verifies the webhooks of an account, also of one that is suspended."""
        wrong = self.suspended.get(name)
        return wrong.receiver if wrong is not None else self.accounts.get(name)

    def after(self, before: Config) -> Config:
        """Return it with the last good settings of what is wrong now: to verify webhooks by, as none may be lost.

        Where only its secrets are away, an entry goes on by them as a whole: that says nothing of its settings, and may pass.
        """
        suspended, as_before = dict(self.suspended), dict[str, Suspended]()
        for name, wrong in self.suspended.items():
            was = before.suspended.get(name) or before.as_before.get(name)
            hidden = was.hidden if was is not None and was.hidden else (before.hidden,)
            if all(problem.away for problem in wrong.problems) and before.accounts.get(name) is not None:
                as_before[name] = replace(suspended.pop(name), hidden=hidden)
            elif wrong.receiver is None and (last := before.receiver(name)) is not None:
                suspended[name] = replace(wrong, receiver=last, hidden=hidden)
        accounts = (
            {**self.accounts, **{name: before.accounts[name] for name in as_before}} if as_before else self.accounts
        )
        return replace(self, accounts=accounts, suspended=suspended, as_before=as_before)

    def account(self, name: str) -> Account | None:
        """Return an account; None where there is none of this name, or its entry is wrong: it is told by who reads all of them."""
        try:
            return self.accounts.get(name)
        except ConfigError:
            return None

    def store_accounts(self) -> list[Account]:
        """Return the stores whose entries are right."""
        return [a for name in self.store_names() if (a := self.account(name)) is not None]

    def store_names(self) -> list[str]:
        """Return the names of the stores, without reading those that nobody asked for yet."""
        told = getattr(self.accounts, "is_store", None) or (lambda name: self.accounts[name].is_store)
        return [name for name in self.accounts if told(name)]

    def carrier_accounts(self) -> list[Account]:
        """Return the carrier accounts whose entries are right, without reading the stores that nobody asked for yet."""
        stores = frozenset(self.store_names())
        return [a for name in self.accounts if name not in stores and (a := self.account(name)) is not None]

    def cadence(self, name: str, carrier: str | None = None) -> Cadence:
        """Return how often an account is asked about a carrier's parcels: by its entry, else by carrier, else as for all."""
        key = (name, carrier if carrier in self.root.cadence.carriers else None)
        if (known := self._cadences.get(key)) is None:
            account = self.account(name)
            part = account.cadence if account is not None else None
            known = self._cadences[key] = cadence_of(self.root.cadence, part, carrier)
        return known

    @cached_property
    def aftercare(self) -> timedelta:
        """Return how long any parcel is looked at after its end."""
        root = self.root.cadence
        parts = [root, *root.carriers.values(), *(account.cadence for account in self.carrier_accounts())]
        looks = DEFAULT.aftercare[-1] if root.aftercare is None else timedelta(0)
        return max([looks, *(part.aftercare for part in parts if part.aftercare is not None)])

    @cached_property
    def targets(self) -> Mapping[str, TargetPart]:
        """Return who is told of findings, by name."""
        return told_of_findings(self.root.telling, self.root.notices)

    @cached_property
    def file_accounts(self) -> tuple[Account, ...]:
        """The carrier accounts for whose files is looked."""
        return tuple(account for account in self.carrier_accounts() if account.files is not None)

    @cached_property
    def feeds(self) -> tuple[Account, ...]:
        """Return the carrier accounts that have a feed."""
        return tuple(account for account in self.carrier_accounts() if account.has_feed)

    def candidates(self, carrier: str | None, store: str) -> tuple[Candidate, ...]:
        """Return the accounts that may be asked about a store's parcels of a carrier, who is asked first comes first.

        Of those that the store names: the direct ones, then those that tell of any carrier. A store that names none gets one
        of each plugin by a stable rule. None: nobody knows the carrier; only who tells of any can look it up.
        """
        key = (carrier, store)
        if (known := self._chosen.get(key)) is None:
            named = entry.ships_with if (entry := self.account(store)) is not None else ()
            known = self._chosen[key] = self._named(carrier, store, named) if named else self._picked(carrier, store)
        return known

    def speakers(self, carrier: str | None) -> tuple[list[str], list[str]]:
        """Return the accounts that speak for a carrier, and those that tell of any, as they are written."""
        direct, general = self._speaking
        return (direct.get(carrier, []) if carrier is not None else []), general

    def _named(self, carrier: str | None, store: str, named: tuple[str, ...]) -> tuple[Candidate, ...]:
        direct, general = map(frozenset, self.speakers(carrier))
        fit = [name for name in named if name in direct] + [name for name in named if name in general]
        return tuple(
            Candidate(name, f"named {'first' if i == 0 else 'next'} by store {store}") for i, name in enumerate(fit)
        )

    def _picked(self, carrier: str | None, store: str) -> tuple[Candidate, ...]:
        direct, general = self.speakers(carrier)
        parts: dict[str, list[str]] = {}
        for name in direct:  # a carrier's divisions have interfaces of their own: each may know the parcel
            parts.setdefault(f"of {carrier} by {self.accounts[name].uses}", []).append(name)
        some = {f"of {carrier}": direct} if len(parts) == 1 else parts
        found = list[Candidate]()
        for what, names in {**some, "that tells of any carrier": general}.items():
            if names:
                why = f"the only account {what}" if len(names) == 1 else f"by a stable rule: store {store} names none"
                found.append(Candidate(pick(store, names), why))
        return tuple(found)

    @cached_property
    def _cadences(self) -> dict[tuple[str, str | None], Cadence]:
        """What was found before: every look asks for it."""
        return {}

    @cached_property
    def _chosen(self) -> dict[tuple[str | None, str], tuple[Candidate, ...]]:
        """What was found before: a store's rule takes a number a carrier account."""
        return {}

    @cached_property
    def _speaking(self) -> tuple[dict[str, list[str]], list[str]]:
        direct: dict[str, list[str]] = {}
        general: list[str] = []
        told: dict[str, list[str]] = {}  # by files only: they cover a carrier of which nobody can be asked
        for account in self.carrier_accounts():
            for carrier in account.speaks:
                (direct if account.is_asked else told).setdefault(carrier, []).append(account.name)
            if not account.speaks and account.is_asked:
                general.append(account.name)
        return {**told, **direct}, general
