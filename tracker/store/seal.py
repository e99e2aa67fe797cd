"""What lies encrypted in the database: by `vault_key` (Fernet), which is not in it."""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from tracker.domain.errors import ConfigError


class Seal:
    """Closes by the newest key what only who holds a `vault_key` may read, and opens what any of the keys closed."""

    def __init__(self, *keys: str) -> None:
        """Take the keys, the newest first. Raises ConfigError for one that is none."""
        try:
            self._newest, *_ = fernets = [Fernet(key.encode()) for key in keys]
        except ValueError:
            raise ConfigError("vault_key: is no Fernet key: 32 random bytes in base64url") from None
        self._any = MultiFernet(fernets)

    def close(self, value: str) -> str:
        """Encrypt a value."""
        return self._newest.encrypt(value.encode()).decode()

    def open(self, value: str) -> str | None:
        """Decrypt a value; None where another key wrote it."""
        try:
            return self._any.decrypt(value.encode()).decode()
        except InvalidToken:
            return None

    def renew(self, value: str) -> str | None:
        """Return a value that an older key closed, closed by the newest; None where it is so already, or cannot be opened."""
        try:
            self._newest.decrypt(value.encode())
        except InvalidToken:
            opened = self.open(value)
            return self.close(opened) if opened is not None else None
        return None
