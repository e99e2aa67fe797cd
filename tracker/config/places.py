"""Where the files of an account come: a folder of this machine, or a carrier's server."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from tracker.config.presets import Duration, Words


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class FilesPart(_Part):
    """Where a carrier's files come, and which of what lies there they are."""

    every: Duration = Field(timedelta(seconds=30), ge=timedelta(seconds=1), description="How often it is looked at.")
    only: Words = Field(("*",), description="Names of the files, with * and ?.")
    skip: Words = Field(
        (".*", "*.tmp", "*.part", "*.filepart"), description="Names of what is not whole yet, or no file."
    )
    semaphore: str | None = Field(
        None,
        description="The name of the file that says that another is whole: {name}.sem, {stem}.sem. "
        "Else a file is whole when two looks find the same size and time.",
    )
    largest: int = Field(1 << 30, ge=1, description="Bytes; a larger file is left, and told.")

    @field_validator("semaphore")
    @classmethod
    def _names_the_file(cls, pattern: str | None) -> str | None:
        if pattern is not None and (
            pattern.count("{name}") + pattern.count("{stem}") != 1 or pattern == "{name}" or "/" in pattern
        ):
            raise ValueError("must hold {name} or {stem} of the other file, and something beside it: {name}.sem")
        return pattern


class FolderPart(FilesPart):
    """A folder of this machine: what was read is moved into `done`, what cannot be read into `failed`, both inside of it."""

    path: str = Field(min_length=1)


def _folder(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


FolderSetting = Annotated[FolderPart | None, BeforeValidator(_folder, json_schema_input_type=str | FolderPart | None)]


def fingerprint(key: str) -> str:
    """Return a public key of a host as `SHA256:...`: it is that, or a line of known_hosts or of ssh-keyscan. Raises ValueError."""
    words = key.split()
    if len(words) == 1 and words[0].startswith("SHA256:"):
        said, length = words[0].removeprefix("SHA256:").rstrip("="), 43
        if len(said) == length:
            return f"SHA256:{said}"
    for word in words[1:]:
        try:
            blob = base64.b64decode(word, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(blob) > 30 and blob[4 : 4 + int.from_bytes(blob[:4], "big")].isascii():
            return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    raise ValueError("is no host key: SHA256:... as ssh-keygen -lf prints it, or a line of ssh-keyscan")


class SftpPart(FilesPart):
    """A folder of a server. Nothing is renamed or deleted there unless `after` says so."""

    every: Duration = Field(timedelta(minutes=5), ge=timedelta(seconds=10), description="How often it is looked at.")
    host: str = Field(min_length=1, max_length=253)
    port: int = Field(22, ge=1, le=65535)
    path: str = Field(".", min_length=1)
    user: str = Field(min_length=1)
    password: SecretStr | None = None
    key: SecretStr | None = Field(None, description="A private key as OpenSSH writes it, without a passphrase.")
    host_key: Words = Field(
        min_length=1, description="Keys of the host: SHA256:... or lines of ssh-keyscan. Any other is refused."
    )
    after: str = Field("leave", description="leave, delete, or move to FOLDER (of the server, as `path` is).")

    @field_validator("host_key")
    @classmethod
    def _host_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(fingerprint, keys))

    @field_validator("after")
    @classmethod
    def _what_then(cls, after: str) -> str:
        words = after.split()
        if after in ("leave", "delete") or (words[:2] == ["move", "to"] and len(words) > 2):
            return after
        raise ValueError("is leave, delete, or move to FOLDER")

    @model_validator(mode="after")
    def _one_proof(self) -> SftpPart:
        if (self.password is None) is (self.key is None):
            raise ValueError("password or key says who we are: one of the two")
        return self

    @property
    def aside(self) -> str | None:
        """Return the folder into which a file that was read is moved, None where it is not."""
        return self.after.split(maxsplit=2)[2].strip() if self.after.startswith("move") else None
