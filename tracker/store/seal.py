"""What lies encrypted in the database: by `vault_key` (Fernet), which is not in it."""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken

from tracker.domain.errors import ConfigError


class Seal:
    """Closes and opens what only who holds `vault_key` may read."""

    def __init__(self, key: str) -> None:
        """Take the key. Raises ConfigError for one that is none."""
        try:
            self._fernet = Fernet(key.encode())
        except ValueError:
            raise ConfigError("vault_key: is no Fernet key: 32 random bytes in base64url") from None

    def close(self, value: str) -> str:
        """Encrypt a value."""
        return self._fernet.encrypt(value.encode()).decode()

    def open(self, value: str) -> str | None:
        """Decrypt a value; None where another key wrote it."""
        try:
            return self._fernet.decrypt(value.encode()).decode()
        except InvalidToken:
            return None
