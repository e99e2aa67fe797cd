"""When a parcel was estimated to arrive has a history: what was known at a moment stays known of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from tests.lab import START, UPS, H, shipped
from tracker.pipeline import state
from tracker.store import tables as t
from tracker.support.explain import explanation
from tracker.upkeep import maintenance

D = timedelta(days=1)


def _days(lab, at: datetime | None = None) -> list[str]:
    (parcel,) = explanation(lab.ctx, "1001", at=at)["orders"][0]["parcels"]
    return [f"{one['begins']:%d}" for one in parcel["estimates"]]


def test_each_estimate_is_kept_once_with_who_told_it_and_when(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    order = lab.one(t.orders)
    lab.scan(lab.ups, UPS, "I", "038", edd=START + 3 * D)
    lab.later(7)
    lab.later(7)  # the same again
    between = lab.clock()
    lab.scan(lab.ups, UPS, "I", "005", edd=START + 5 * D)
    lab.later(7)

    first, second = lab.rows(t.estimates)
    assert (first.account, first.told_at < between < second.told_at) == ("ups", True)
    assert lab.one(t.inbox, t.inbox.c.id == second.inbox_id).account == "ups"
    assert second.ends - first.ends == 2 * D
    assert (_days(lab), _days(lab, between), _days(lab, START + H)) == (["05", "07"], ["05"], [])
    with lab.ctx.store.read() as connection:
        (then,) = state.shipments_at(connection, [order.id], between)[order.id]
        (now,) = state.shipments_at(connection, [order.id], lab.clock())[order.id]
        (before,) = state.shipments_at(connection, [order.id], START + H)[order.id]
    assert (then.edd and then.edd.ends, now.edd and now.edd.ends, before.edd) == (first.ends, second.ends, None)

    # a version that knows no history beside us: the newest estimate stands at the parcel alone
    newest = {"edd_begins": START + 8 * D, "edd_ends": START + 8 * D, "edd_told_at": lab.clock()}
    lab.change(t.shipments.update().values(**newest))
    with lab.ctx.store.read() as connection:
        (beside,) = state.shipments_at(connection, [order.id], lab.clock())[order.id]
        (then,) = state.shipments_at(connection, [order.id], between)[order.id]
    assert (beside.edd and beside.edd.ends, then.edd and then.edd.ends) == (START + 8 * D, first.ends)

    # and such a version drops parcels that no order names, without this table
    lab.change(t.fulfilment_shipments.delete())
    lab.change(t.shipments.update().values(linked=False))
    maintenance.prune(lab.ctx)
    assert len(lab.rows(t.estimates)) == 2  # not that old yet
    lab.change(t.scans.delete())
    lab.change(t.watches.delete())
    lab.change(t.shipments.delete())
    assert lab.rows(t.estimates) == []


def test_the_estimate_that_an_older_version_kept_is_the_first_of_the_history(empty_postgres: str, tmp_path) -> None:
    from alembic import command

    from tracker.store.engine import Store
    from tracker.store.migrate import alembic_config, migrate

    for url in (f"sqlite:///{tmp_path}/old.db", empty_postgres):
        store, config, at = Store(url), alembic_config(), "'2026-11-02 08:00:00.000000'"
        with store.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0010")
            connection.exec_driver_sql(
                "INSERT INTO shipments (id, carrier, number, generation, status, summary, edd_begins, edd_ends, starts_at, linked)"
                f" VALUES (1, 'ups', 'N', 1, 'unknown', '{{}}', {at}, {at}, {at}, TRUE),"
                f" (2, 'ups', 'M', 1, 'unknown', '{{}}', NULL, NULL, {at}, TRUE)"
            )
        migrate(store)
        with store.read() as connection:
            (row,) = connection.execute(sa.select(t.estimates)).all()
        store.close()
        assert (row.shipment_id, row.ends, row.told_at, row.account) == (1, START, START, None)
