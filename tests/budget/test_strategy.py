"""What is tried next, against a drop that a formula gives."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oq.budget.strategy import Keep, Ranked, foresee, orders, propose
from oq.budget.trial import Trial, best_trial

LAYERS = tuple(Ranked(f"n{i}", error, 100) for i, error in enumerate((1.0, 8.0, 2.0, 6.0, 0.5)))


def explore(
    layers: Sequence[Ranked], max_drop: float, drop: Callable[[Keep], float]
) -> tuple[list[Keep], Trial]:
    """All sets that are tried, and the best."""
    total = sum(one.macs for one in layers)
    tried: list[Keep] = []
    trials = [Trial((), drop(frozenset()), 100.0)]
    proposals = propose(layers, max_drop)
    wish = next(proposals, None)
    while wish is not None:
        tried.append(wish)
        left = sum(one.macs for one in layers if one.node not in wish)
        trials.append(Trial(tuple(sorted(wish)), drop(wish), 100 * left / total))
        try:
            wish = proposals.send(trials[-1])
        except StopIteration:
            break
    return tried, best_trial(trials, max_drop)


@settings(max_examples=30)
@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4))
def test_what_is_foreseen_is_asked_for(outcomes: list[bool], count: int) -> None:
    """Whatever comes of the sets: the next one is always known ahead, in fewer rounds than sets."""
    known: dict[Keep, Trial] = {}
    ready: set[Keep] = set()
    rounds = 0
    coins = iter(outcomes)

    def drop(keep: Keep) -> float:
        nonlocal rounds
        if keep not in ready:
            ahead = foresee(LAYERS, 2.0, known, count)
            assert ahead[0] == keep and len(set(ahead)) == len(ahead) <= count
            assert not set(ahead) & set(known)
            ready.update(ahead)
            rounds += 1
        met = next(coins, False)
        known[keep] = Trial((), 1.0 if met else 9.0, 0.0)
        return known[keep].drop

    proposals = propose(LAYERS, 2.0)
    wish = next(proposals, None)
    asked: set[Keep] = set()
    while wish is not None:
        asked.add(wish)
        trial = known[wish] if wish in known else Trial((), drop(wish), 0.0)
        try:
            wish = proposals.send(trial)
        except StopIteration:
            break
    assert rounds <= len(asked) and (count == 1 or rounds < len(asked) or len(asked) < 3)
    assert foresee(LAYERS, 2.0, known, count) == []


def remaining(keep: Keep) -> float:
    """Each layer in int8 costs its error."""
    return sum(one.error for one in LAYERS if one.node not in keep)


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (9.5, {"n1"}),
        (3.5, {"n1", "n3"}),
        (1.5, {"n1", "n2", "n3"}),
        (0.5, {"n0", "n1", "n2", "n3"}),
    ],
)
def test_the_fewest_layers_that_meet_the_budget(budget: float, kept: set[str]) -> None:
    _, best = explore(LAYERS, budget, remaining)
    assert set(best.keep) == kept and best.meets(budget)


def test_everything_in_float_is_no_answer() -> None:
    tried, best = explore(LAYERS, 0.0, remaining)
    assert not best.meets(0.0) and best.drop == 0.5
    assert max(map(len, tried)) == 4


def test_layers_that_turn_out_not_to_matter_go_back_to_int8() -> None:
    """The ranking is wrong: only n2, third in it, matters."""
    tried, best = explore(LAYERS, 1.0, lambda keep: 0.0 if "n2" in keep else 5.0)
    assert best.keep == ("n2",) and len(tried) < 10


def test_cheap_layers_are_preferred() -> None:
    """Two ways to the budget: one layer with most of the work, or two with little."""
    layers = (
        Ranked("big", 10.0, 900),
        Ranked("a", 4.0, 40),
        Ranked("b", 3.0, 60),
        Ranked("c", 0, 50),
    )
    enough = ({"big"}, {"a", "b"})

    def drop(keep: Keep) -> float:
        return 0.0 if any(some <= keep for some in enough) else 5.0

    assert set(explore(layers, 1.0, drop)[1].keep) == {"a", "b"}


def test_a_layer_without_macs_is_not_free() -> None:
    layers = (Ranked("pool", 0.001, 0), Ranked("a", 5.0, 100), Ranked("b", 0.002, 100))
    assert [[one.node for one in order] for order in orders(layers)] == [
        ["a", "b", "pool"],
        ["a", "pool", "b"],
    ]


def test_the_number_of_evaluations_is_logarithmic() -> None:
    layers = tuple(Ranked(f"n{i}", 100.0 - i, 10) for i in range(100))
    tried, best = explore(layers, 0.0, lambda keep: 0.0 if {"n0", "n1", "n2"} <= keep else 1.0)
    assert set(best.keep) == {"n0", "n1", "n2"} and len(tried) <= 8


@pytest.mark.parametrize("layers", [(), LAYERS[:1]])
def test_nothing_to_choose_from(layers: tuple[Ranked, ...]) -> None:
    assert list(propose(layers, 0.0)) == []


def test_which_of_two_is_better() -> None:
    plain, small, large = Trial((), 9.0, 100.0), Trial(("a",), 1.0, 90.0), Trial(("b",), 0.1, 50.0)
    assert best_trial([plain, small, large], 1.0) is small
    assert best_trial([plain, small, large], 0.5) is large
    assert best_trial([plain, small], 0.5) is small, "none meets it: the least drop"
    assert Trial((), 59.25 - 58.15, 0.0).meets(1.1)
