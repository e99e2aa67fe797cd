"""What goes wrong in a storm: each fault is a method that does it, and ends it where it lasts."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import redis

from tests.chaos.rig import Rig


class Faults:
    """The faults of one storm, drawn by its random numbers."""

    def __init__(self, rig: Rig, choose: random.Random, client: redis.Redis) -> None:
        self.rig, self.choose, self.client = rig, choose, client

    def all(self) -> list[tuple[str, Callable[[], None]]]:
        """Return each with its name."""
        return [
            ("receiver killed", lambda: self.rig.restart(0)),
            ("worker killed", lambda: self.rig.restart(self.choose.choice([1, 2]))),
            ("scheduler killed", lambda: self.rig.restart(3)),
            ("Redis wiped", self.wipe_redis),
            ("FLUSHALL", self.flush),
            ("Redis frozen", self.freeze_redis),
            ("Redis out of memory", self.fill_redis),
            ("replies of Redis lost", self.lose_replies),
            ("PostgreSQL crashed", self.crash_postgres),
            ("connections cut", self.rig.cluster.storm),
            ("tables locked", self.lock_storm),
            ("worker frozen past its claim", self.frozen_worker),
            ("shop in trouble", self.shop_trouble),
        ]

    def freeze_redis(self) -> None:
        self.rig.redis.freeze()
        time.sleep(self.choose.uniform(1, 4))
        self.rig.redis.thaw()

    def wipe_redis(self) -> None:
        self.rig.redis.kill()  # it keeps nothing on disk: it comes back empty
        time.sleep(self.choose.uniform(0, 3))
        self.rig.redis.start()

    def flush(self) -> None:
        self.client.flushall()

    def fill_redis(self) -> None:
        self.client.config_set("maxmemory", "1mb")
        time.sleep(self.choose.uniform(0.5, 2))
        self.client.config_set("maxmemory", "0")

    def lose_replies(self) -> None:
        self.rig.proxy.lose(rb"(?i)evalsha", self.choose.randrange(1, 6), hang=self.choose.random() < 0.5)

    def crash_postgres(self) -> None:
        self.rig.cluster.crash()
        time.sleep(self.choose.uniform(0, 2))
        self.rig.cluster.start()

    def lock_storm(self) -> None:
        import psycopg

        with psycopg.connect(self.rig.cluster.url) as connection:
            table = self.choose.choice(["inbox", "orders", "outbox", "shipments", "watches"])
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            time.sleep(self.choose.uniform(0.2, 1.5))

    def frozen_worker(self) -> None:
        which = self.choose.choice([1, 2])
        self.rig.signal(which, signal.SIGSTOP)
        for table in (
            "inbox",
            "outbox",
            "watches",
            "change_notices",
        ):  # as a minute would; what it has locked stays its
            self.rig.cluster.execute(
                f"UPDATE {table} SET claimed_until = NULL WHERE id IN (SELECT id FROM {table} "
                "WHERE claimed_until IS NOT NULL FOR UPDATE SKIP LOCKED)"
            )
        time.sleep(self.choose.uniform(1, 3))
        self.rig.signal(which, signal.SIGCONT)

    def shop_trouble(self) -> None:
        faults = self.rig.site.shop.faults.left
        faults[self.choose.choice(["error", "throttle"])] += self.choose.randrange(1, 4)
