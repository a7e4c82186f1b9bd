"""Places, refusals and the budget: who gets what, by a clock of the test's own."""

from __future__ import annotations

from edge.outputs.web.admission import BUSY, IDLE, NEW, Budget, Places, Refusals


def test_where_no_place_is_left_the_longest_silent_gives_way_and_who_is_served_never() -> None:
    worth, left = dict.fromkeys(range(20), NEW) | {4: BUSY, 3: IDLE}, []
    places = Places(4, worth.__getitem__, left.append)
    assert all(places.take(connection, f"10.0.0.{connection}") for connection in (3, 1, 2, 4))
    places.speak(1)
    assert places.take(5, "10.0.0.5")
    assert left == [2]
    worth |= {5: BUSY, 6: BUSY, 7: BUSY}
    assert places.take(6, "10.0.0.6")
    assert left == [2, 1]  # one that was served goes after those that never asked
    assert places.take(7, "10.0.0.7")
    assert (left, len(places)) == ([2, 1, 3], 4)
    assert not places.take(8, "10.0.0.8")
    assert places.free(4)
    assert not places.free(4)
    assert places.take(8, "10.0.0.8")


def test_one_address_takes_three_quarters_and_only_its_own_give_way_to_it() -> None:
    worth, left = dict.fromkeys(range(200), BUSY) | {0: IDLE, 100: NEW}, []
    places = Places(8, worth.__getitem__, left.append)
    assert places.take(100, "10.0.0.9")
    assert [places.take(at, "10.0.0.1") for at in range(8)] == [True] * 7 + [False]
    assert left == [0]
    assert places.take(101, "10.0.0.9")


def test_a_flood_is_turned_away_before_it_costs_anything_and_others_come_in() -> None:
    places = Places(8, dict.fromkeys(range(5000), NEW).__getitem__, lambda connection: None)
    admitted = 0
    for connection in range(5000):
        if places.admits("10.0.0.1", 5.0):
            admitted += 1
            assert places.take(connection, "10.0.0.1")
    assert 1000 < admitted < 1010  # three quarters of the places, and a thousand for which an older one left
    assert places.admits("10.0.0.2", 5.0)
    assert not places.admits("10.0.0.1", 5.0)
    assert places.admits("10.0.0.1", 5.1)


def test_refusals_are_answered_at_once_and_then_ten_a_second() -> None:
    refusals = Refusals(5)
    for _ in range(100):
        refusals.note("10.0.0.1", 0.0)
    assert not refusals.answered("10.0.0.1", 0.0)
    assert refusals.answered("10.0.0.2", 0.0)
    assert refusals.answered("10.0.0.1", 0.2)
    for address in range(10_000):
        refusals.note(f"h{address}", 1.0)
    assert len(refusals._left) < 1000


def test_the_budget_lets_a_second_through_and_then_its_rate() -> None:
    budget = Budget(1000)
    assert budget.wait_s(1000, 5.0) == 0
    assert budget.wait_s(500, 5.0) == 0.5
    assert budget.wait_s(500, 5.0) == 1.0
    assert budget.wait_s(0, 5.5) == 0.5
    assert budget.wait_s(1000, 100.0) == 0
