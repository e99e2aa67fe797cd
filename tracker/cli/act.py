"""Commands that act: `pause`, `resume`, `replay`, `remap`, `heal`. They mark rows; the daemon does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from tracker.cli.common import ROW, all_of, config_option, glance_config, open_context
from tracker.cli.listing import refuse_unknown_account
from tracker.cli.many import act, asked_for, many_options
from tracker.pipeline import brakes
from tracker.pipeline.context import AppContext
from tracker.pipeline.poll import registering
from tracker.store import queries
from tracker.store.tables import accounts, orders
from tracker.support import lists, many
from tracker.upkeep import maintenance
from tracker.upkeep import replay as replays

write_option = click.option("--write", is_flag=True, help="Let what changes cause writes to the shop too.")


def _names(ctx: AppContext, name: str | None) -> list[str]:
    """Return the account or store that is named, without a name every store; also those that left the configuration: a process may work on them still."""
    with ctx.store.read() as connection:
        there = dict(connection.execute(sa.select(accounts.c.name, accounts.c.kind)).all())
    if name is None:
        return sorted({*ctx.config.store_names(), *(one for one, kind in there.items() if kind == "store")})
    if name not in ctx.config.accounts and name not in there:
        raise click.UsageError(
            f"no store or account {name!r}: {', '.join(ctx.config.accounts) or 'none is configured'}"
        )
    return [name]


@click.command()
@click.argument("name", required=False)
@config_option
def pause(name: str | None, file: Path) -> None:
    """Stop all writes to the store NAME (or to every store), or all calls to the carrier account NAME, within 5 seconds.

    Receiving and deciding go on. Parcels of a carrier account that is paused wait; no other account is asked about them.
    """
    ctx = open_context(glance_config(file))
    names = _names(ctx, name)
    with ctx.store.write() as connection:
        connection.execute(
            accounts.update()
            .where(accounts.c.name.in_(names), accounts.c.paused_at.is_(None))
            .values(paused_at=ctx.now())
        )
        known = set(connection.execute(sa.select(accounts.c.name).where(accounts.c.name.in_(names))).scalars())
    new = ", ".join(one for one in names if one not in known)
    if new and not known:
        raise click.UsageError(f"{new}: not started yet (`tracker up`), so there is nothing to pause")
    click.echo(f"paused: {', '.join(one for one in names if one in known)}; `tracker resume` goes on")
    if new:
        click.echo(f"not paused: {new}: not started yet; once it is (`tracker up`, `tracker reload`), pause it again")


@click.command()
@click.argument("name", required=False)
@config_option
def resume(name: str | None, file: Path) -> None:
    """Let writes to a store, or calls to a carrier account, go on; every order of a store is looked at again first.

    An account that is not paused and whose brake is on (`tracker findings --kind ends_leapt`): release it. You say that what
    it tells is true, or that it was mended; what was held and is still wanted is written.
    """
    ctx = open_context(glance_config(file))
    names = _names(ctx, name)
    if name is not None and name not in ctx.config.store_names() and _release(ctx, name):
        return
    with ctx.store.write() as connection:
        queries.decide_now(connection, orders.c.store.in_(names), ctx.now())  # lock order: orders before accounts
        paused = sa.and_(accounts.c.name.in_(names), accounts.c.paused_at.isnot(None))
        connection.execute(accounts.update().where(paused).values(paused_at=None, well_since=ctx.now()))
    ctx.notify("poll")
    click.echo(f"resumed: {', '.join(names)}")
    with ctx.store.read() as connection:
        of_them = sa.select(accounts.c.name, accounts.c.brakes).where(accounts.c.name.in_(names))
        for brake in brakes.on(connection.execute(of_them)).values():
            click.echo(
                f"{brake.account} still has its brake on for {brake.carrier}: `tracker resume {brake.account}` again releases it"
            )


def _release(ctx: AppContext, name: str) -> bool:
    """Release the brakes of an account that is not paused; returns whether there were any."""
    with ctx.store.read() as connection:
        paused = connection.execute(sa.select(accounts.c.paused_at).where(accounts.c.name == name)).scalar()
    done = brakes.release(ctx, name) if paused is None else []
    for brake, writes, mended in done:
        why = (
            "it was mended: what was counted since is forgotten"
            if mended
            else "it is true: what leapt is usual from now on"
        )
        click.echo(
            f"released: the brake of {brake.account} for {brake.carrier}, on since {brake.since:%Y-%m-%d %H:%M}Z ({why}); {writes} writes go on"
        )
    return bool(done)


@click.command()
@click.argument("ids", nargs=-1, type=ROW)
@config_option
@click.option("--state", type=click.Choice(["dead", "ignored", "done"]), help="All payloads in this state.")
@click.option("--partly", is_flag=True, help="All payloads of which something could not be read.")
@click.option("--account", help="Only from this account.")
@many_options("words", "store", "since")
@write_option
def replay(
    ids: tuple[int, ...], file: Path, state: str | None, partly: bool, account: str | None, write: bool, **given: Any
) -> None:
    """Read payloads again (IDS from `tracker inbox`, or by --state, --partly or another filter, or --from a file): after a parser was mended.

    Scans are never doubled. Without --write nothing that changes is written to the shop.
    """
    ctx = open_context(glance_config(file))
    asked = asked_for(ctx, {**given, "state": state, "partly": partly, "account": account})
    asked.or_ids(ids, "payloads by id, or all of a --state, or --partly")
    refuse_unknown_account(ctx, account, lambda: lists.list_inbox(ctx, account=account, limit=1))
    after = "" if write else "; nothing they change is written (--write)"
    if ids:
        count = replays.replay(ctx, ids=ids, write=write)
        click.echo(f"{count} payloads are due again{after}")
        all_of(ids, count)
        return
    done = act(ctx, asked, many.PAYLOADS, "read again", lambda some: replays.replay(ctx, ids=some, write=write))
    if done is not None:
        click.echo(f"{done:,} payloads are due again{after}")


@click.command()
@click.argument("account")
@config_option
@click.option("--code", help="Only this code, as `tracker codes` prints it: space/code.")
@write_option
def remap(account: str, file: Path, code: str | None, write: bool) -> None:
    """Give stored scans of ACCOUNT the meaning that their codes have now. No bodies are needed."""
    ctx = open_context(glance_config(file))
    if account not in ctx.config.accounts:
        raise click.UsageError(f"no account {account!r}: {', '.join(sorted(ctx.config.accounts))}")
    if code is not None and "/" not in code:
        raise click.UsageError("--code must be space/code")
    count = replays.remap(ctx, account, code=code, write=write)
    click.echo(f"{count} parcels are read again{'' if write else '; nothing they change is written (--write)'}")


@click.command()
@config_option
@click.option("--backfill", metavar="STORE", help="Let what happened before STORE was connected cause writes too.")
def heal(file: Path, backfill: str | None) -> None:
    """Find what silence hid, now: ask who rests, register what waits for a quota, sweep every store and feed, expire what says nothing, drop what is past its retention."""
    ctx = open_context(glance_config(file))
    if backfill is not None:
        if backfill not in (stores := ctx.config.store_names()):
            raise click.UsageError(f"no store {backfill!r}: {', '.join(stores) or 'none is configured'}")
        click.echo(f"{maintenance.backfill(ctx, backfill)} orders of {backfill} are looked at again")
        return
    registering.try_now(ctx)
    with ctx.store.write() as connection:
        swept = queries.sweep_now(connection, sa.true(), ctx.now())
        connection.execute(accounts.update().where(accounts.c.rests_until.isnot(None)).values(rests_until=None))
    expired, dropped = maintenance.expire(ctx), maintenance.prune(ctx)
    click.echo(
        f"{swept} stores and feeds will be swept now; {expired} watches expired; dropped: {dropped['bodies']} bodies, "
        f"{dropped['rows']} inbox rows, {dropped['unmatched']} parcels without an order"
    )


COMMANDS = (pause, resume, replay, remap, heal)
