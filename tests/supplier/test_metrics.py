"""What a supplier counts of each relay, for the service and for the gateway that asked."""

from __future__ import annotations

import pytest

from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.supplier.metrics import Metrics

GATEWAY = "0x" + "ab" * 20


def test_a_relay_counts_for_its_service_and_its_gateway() -> None:
    metrics = Metrics()
    with metrics.relay("eth", GATEWAY) as watch:
        watch.units, watch.price = 20, 5
    for sums in (metrics.meter.of("eth"), metrics.meter.of("eth", GATEWAY)):
        assert (sums.relays, sums.good, sums.units, sums.worth) == (1, 1, 20, 100)


def test_a_relay_that_outlives_a_turn_of_the_meter_is_counted_in_the_next() -> None:
    metrics = Metrics()
    with metrics.relay("eth", GATEWAY):
        metrics.meter.turn()
    assert metrics.meter.turn()["eth", GATEWAY].good == 1


@pytest.mark.parametrize(("kind", "failed"), [(FaultClass.BACKEND, True), (FaultClass.BAD_REQUEST, False)])
def test_only_what_is_ours_to_mend_is_a_failure(kind: FaultClass, failed: bool) -> None:
    metrics = Metrics()
    with pytest.raises(RelayFailed), metrics.relay("eth", GATEWAY):
        raise RelayFailed(kind, "no")
    sums = metrics.meter.of("eth", GATEWAY)
    assert (sums.relays, sums.refused, sums.errors) == (int(failed), int(not failed), {kind.value: 1})
