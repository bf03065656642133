# SPDX-License-Identifier: Apache-2.0
"""Switches of a source that DM reads, by a stand-in for DM: it says what a real one said, and behaves as one did."""
import statistics

import pytest
from sluicetest.dm_stand_in import DmStandIn
from sluicetest.dm_world import DmWorld

SWITCHES = 25  # with and without relay and validator: 50


@pytest.fixture(name="world")
def fixture_world(trio, sluice):
    """Makes the world: world(relay=True, dm={…}, security={…}, downstream=server, hold_timeout="3s")."""
    made = []

    def make(relay=False, dm=None, security=None, downstream=None, **how):
        proxy = sluice(trio, consumer="none", **how)
        stand_in = DmStandIn(proxy.port, downstream or trio.c, relay=relay, **(dm or {}))
        proxy.source["consumer"] = {"type": "dm", "master-addr": stand_in.address,
                                    **({"security": security} if security else {})}
        made.append(DmWorld(trio, proxy, stand_in))
        proxy.start_ready()
        return made[-1]

    yield make
    for one in made:
        if one.writer and one.writer._thread.is_alive():  # pylint: disable=protected-access
            one.stop()
        one.dm.stop()


@pytest.mark.parametrize("relay, validator", [(False, ""), (True, "full")], ids=["plain", "relay-and-validator"])
def test_switches_under_writes_lose_nothing(world, capsys, relay, validator):
    """Under writes: never two servers at once, no row lost or doubled, and what ran before runs again."""
    run = world(relay=relay).start(validator=validator)
    results = []
    for number in range(SWITCHES):
        results.append(run.switch("ab"[(number + 1) % 2]).json["switch"])
    run.compare(run.active)
    run.sampler.stop()
    assert run.sampler.servers_at_once() == 1
    assert run.dm.tasks["t1"].stage == "Running"
    assert run.dm.relay.stage == ("Running" if relay else "Stopped")
    assert run.dm.tasks["t1"].validator.stage == ("Running" if validator else "Stopped")
    holds = [result["hold-ms"] for result in results]
    with capsys.disabled():
        print(f"\n{SWITCHES} switches, relay {relay}, {run.writer.count} rows; hold median "
              f"{statistics.median(holds)} ms, maximum {max(holds)} ms; backends at once "
              f"{run.sampler.servers_at_once()}")
