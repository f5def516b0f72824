"""Which claims of a device's agent come too late."""

from edgefleet_controller.runs.starts import KNOWN_STARTS, Place, Starts


def test_claims_of_a_start_that_another_followed_are_late() -> None:
    starts = Starts()
    assert [starts.take_in("pi", "first", 1), starts.take_in("pi", "second", 1)] == [Place.NEW, Place.NEW]
    assert starts.take_in("pi", "first", 1) is Place.LATE
    assert starts.take_in("pi", "second", 2) is Place.LATEST


def test_the_one_claim_that_a_dead_agent_had_under_way_is_late_though_it_was_never_seen() -> None:
    starts = Starts()
    starts.take_in("pi", "first", 8)
    starts.take_in("pi", "second", 1)
    assert [starts.take_in("pi", "first", 9) for _ in range(3)] == [Place.LATE] * 3


def test_request_of_a_dead_start_that_arrives_after_a_restart_of_the_controller_does_not_starve_the_living_one() -> (
    None
):
    starts = Starts()  # the controller has forgotten that "first" came before "second"
    starts.take_in("pi", "second", 7)
    starts.take_in("pi", "first", 3)
    assert [starts.take_in("pi", "second", number) for number in (8, 9, 10)] == [Place.LATE, Place.LATEST, Place.LATEST]
    assert starts.take_in("pi", "first", 3) is Place.LATE


def test_repeated_claim_of_the_latest_start_is_not_late() -> None:
    starts = Starts()
    starts.take_in("pi", "first", 5)
    assert starts.take_in("pi", "first", 5) is Place.LATEST


def test_devices_do_not_mix_and_old_starts_are_forgotten() -> None:
    starts = Starts()
    for index in range(KNOWN_STARTS + 1):
        starts.take_in("pi", f"start {index}", 1)
    assert starts.take_in("jetson", "start 1", 1) is Place.NEW
    assert starts.take_in("pi", "start 1", 1) is Place.LATE
    assert starts.take_in("pi", "start 0", 1) is Place.NEW
