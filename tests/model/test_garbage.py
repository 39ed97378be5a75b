"""The collector is off while the work runs, and as it was afterwards."""

import gc

import pytest

from oq.model.garbage import uncollected


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_collector_is_as_it_was(on: bool, fails: bool) -> None:
    @uncollected
    def work() -> bool:
        if fails:
            raise ValueError
        return gc.isenabled()

    try:
        gc.enable() if on else gc.disable()
        if fails:
            with pytest.raises(ValueError):
                work()
        else:
            assert not work()
        assert gc.isenabled() == on
    finally:
        gc.enable()
