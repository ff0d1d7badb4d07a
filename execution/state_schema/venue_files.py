"""What an exchange venue keeps under `run/` from one start to the next."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from execution.state_schema.envelope import Ts


class BanFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`run/exchange_ban.json`: until when the exchange wants no request from this address."""

    until_ts: Ts
    told_ts: Ts
    reason: Annotated[str, Meta(max_length=300)]
