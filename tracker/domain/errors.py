"""The error tree, by what to do next.

```
TrackerError
  ConfigError             stop at start-up; names file, line and key
  WebhookRejected         not from whom it says             -> 401, not stored, counted
    KeyUnknown            ... or by a key we do not know yet -> 503 while the worker asks its sender for it
  SourceError
    Transient             may work later                    -> due_at, backing off
      RateLimited         ... and they said when            -> the account waits until then
        BudgetSpent       ... we may not ask: our budget    -> nobody asked; it waits until a call is free
        Resting           ... its last answer asked so      -> nobody asked; the account waits, and does not fail
      Unavailable         nothing of theirs works just now  -> the account rests half an hour and more, one finding
    CredentialsRejected   our key is wrong                  -> the account is suspended, one finding
    NotFound              number or order unknown to them   -> tracking not_found; normal in the first hours
    BadPayload            we cannot read what they sent     -> bytes kept, counted, replayable
    Refused               understood, and the answer is no  -> never again; a finding
```
"""

from __future__ import annotations

from datetime import timedelta

from tracker.domain.masking import mask


class TrackerError(Exception):
    """Anything Trackwright raises on purpose. What it says is shown, logged and stored: no secret is in it."""

    def __str__(self) -> str:
        """Say it, masked."""
        return mask(super().__str__())

    def __repr__(self) -> str:
        """Say it with its name, masked."""
        return f"{type(self).__name__}({str(self)!r})"


class ConfigError(TrackerError):
    """The configuration cannot be used; `problems` holds one line each: file:line:column: key: what to do."""

    def __init__(self, *problems: str) -> None:
        """Keep all problems: an operator mends them in one go."""
        super().__init__("\n".join(problems))
        self.problems = problems


class WebhookRejected(TrackerError):
    """The sender did not prove who it is. The message is for the log; the sender learns nothing."""


class KeyUnknown(WebhookRejected):
    """Signed by a key that nobody here knows; `key_id` is what the message calls it."""

    def __init__(self, key_id: str) -> None:
        """Keep the id: its key is asked for."""
        super().__init__("signed by a key that is not known")
        self.key_id = key_id

    @staticmethod
    def can_be(key_id: str) -> bool:
        """Say whether a text may be the id of a key: up to 200 printable characters of ASCII, no space."""
        return 0 < len(key_id) <= 200 and all("!" <= sign <= "~" for sign in key_id)


class SourceError(TrackerError):
    """A carrier or platform did not give what we asked for."""


class Transient(SourceError):
    """May work later."""


class Unanswered(Transient):
    """It was handed over, and the answer is missing: nobody knows whether it was taken."""


class RateLimited(Transient):
    """Asked to slow down; `after` is how long, where they said it."""

    def __init__(self, message: str, after: timedelta | None = None) -> None:
        """Keep the wait they named, None where they named none."""
        super().__init__(message)
        self.after = after


class BudgetSpent(RateLimited):
    """Nobody was asked: the account's `budget:`, or the bucket of points that its source counts, gives no call before `after`. It says nothing of the account."""


class Resting(RateLimited):
    """Nobody was asked: the account rests for `after`, as its last answer asked for. It answered, so it does not fail."""


class Unavailable(Transient):
    """All of it is away, and will be for a while: a frozen or locked shop, a page for people, an error where the answer stands.

    `after` is how long, where they said it. Its account rests for half an hour at first, then longer.
    """

    def __init__(self, message: str, after: timedelta | None = None) -> None:
        """Keep the wait they named, None where they named none."""
        super().__init__(message)
        self.after = after


class CredentialsRejected(SourceError):
    """Our credentials are wrong or were withdrawn."""


class NotFound(SourceError):
    """They do not know the number or order."""


class BadPayload(SourceError):
    """Cannot be read; `where` is the path inside the payload, such as `$.trackResponse.shipment[0]`."""

    def __init__(self, where: str, problem: str) -> None:
        """Name the place first: that is what the reader needs."""
        super().__init__(f"{where}: {problem}")
        self.where, self.problem = where, problem


class Refused(SourceError):
    """Understood, and the answer is no."""
