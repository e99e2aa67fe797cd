"""What of the YAML is for those inside: the read API, the page, and what assistants ask."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from tracker.config.presets import Words


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LimitedToken(_Part):
    """A token that sees some stores only."""

    token: SecretStr = Field(description="Bearer token of 22 characters or more.")
    stores: Words = Field(min_length=1, description="What it sees is of these stores; all else is not there.")


class Api(_Part):
    """The read API; off unless it has a token."""

    host: str = "127.0.0.1"
    port: int = Field(8082, ge=0, le=65535)
    token: SecretStr | None = Field(
        None, description="Bearer token of 22 characters or more, which sees all; without any token there is no API."
    )
    tokens: Mapping[str, LimitedToken] = Field({}, description="More tokens by name, each limited to some stores.")


class Page(Api):
    """The page to look at; off unless it has a token."""

    port: int = Field(8083, ge=0, le=65535)
    token: SecretStr | None = Field(
        None, description="Who gives it may look at all; 22 characters or more. Without any token there is no page."
    )


class Mcp(Api):
    """What assistants ask, by the Model Context Protocol; off unless it has a token. `tracker mcp` needs none."""

    port: int = Field(8084, ge=0, le=65535)
    token: SecretStr | None = Field(
        None, description="Bearer token of 22 characters or more, which sees all; without any token nothing listens."
    )
