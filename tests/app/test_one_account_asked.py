"""A database of before, in which several accounts were asked about a parcel: after the first start one is."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from alembic import command

from tests.lab import UPS, lab
from tracker.domain.facts import Summary
from tracker.store import tables as t
from tracker.store.codec import SUMMARY, dump
from tracker.store.engine import Store
from tracker.store.migrate import alembic_config

AT = "'2026-11-02 08:00:00'"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_parcel_that_several_accounts_were_asked_about_is_asked_of_one_after_the_first_start(
    database: str, empty_postgres: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/old.db" if database == "sqlite" else empty_postgres
    store, config = Store(url), alembic_config()
    summary = orjson.dumps(dump(SUMMARY, Summary())).decode().replace(":", r"\:")
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        connection.exec_driver_sql(
            "INSERT INTO orders (id, store, ref, number, status, raw_status, payment, raw_payment, owner, placed_at, facts, version,"
            f" read_at) VALUES (1, 'shop', 'R1', '#1', 'processing', 'x', 'paid', 'x', 'unknown', {AT}, '{{}}', 1, {AT})"
        )
        connection.exec_driver_sql(
            "INSERT INTO fulfilments (id, order_id, ref, status, live) VALUES (1, 1, 'F', 'open', true)"
        )
        for id_, number in ((1, UPS), (2, "1Z5338FF0107231059")):
            connection.exec_driver_sql(
                "INSERT INTO shipments (id, carrier, number, generation, status, summary, starts_at, linked)"
                f" VALUES ({id_}, 'ups', '{number}', 1, 'unknown', '{summary.replace(chr(92), '')}', {AT}, true)"
            )
            connection.exec_driver_sql(f"INSERT INTO fulfilment_shipments VALUES (1, {id_}, {AT}, NULL)")
            for account in ("easypost", "ups", "gone"):
                connection.exec_driver_sql(
                    "INSERT INTO watches (shipment_id, account, tracking_state, next_poll_at, attempts, failures)"
                    f" VALUES ({id_}, '{account}', 'pending', '2026-11-02 1{id_}:00:00', 0, 0)"
                )
        for name, speaks in (("easypost", "'*'"), ("ups", "'ups'"), ("gone", "'ups'")):
            connection.exec_driver_sql(
                f"INSERT INTO accounts (name, kind, attempts, speaks) VALUES ('{name}', 'carrier', 0, {speaks})"
            )
        connection.exec_driver_sql("INSERT INTO accounts (name, kind, attempts) VALUES ('shop', 'store', 0)")
    store.close()

    with lab(url, tmp_path, store="mode: observe, accounts: [easypost, ups]") as made:
        asked = {(row.shipment_id, row.account): row for row in made.rows(t.watches) if row.next_poll_at is not None}
        assert set(asked) == {(1, "ups"), (2, "ups")}
        assert {(row.chosen, row.store) for row in asked.values()} == {("named first by store shop", "shop")}
        assert [row.next_poll_at.hour for _, row in sorted(asked.items())] == [11, 12], "asked when it would have been"
        heard = {(row.shipment_id, row.account) for row in made.rows(t.watches)} - set(asked)
        assert heard == {(1, "easypost"), (2, "easypost")}, "what an account knows is kept while it is configured"
