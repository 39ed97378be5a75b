"""What nodes must have in common, whatever a distribution is called."""

import numpy as np
import pytest

import oq
from oq.distributed.tasks import Place, enter, this_place, version
from oq.errors import OptionError


def test_versions_are_those_that_packages_name_themselves() -> None:
    found = dict(this_place().versions)
    assert found["oq"] == oq.__version__
    assert found["numpy"] == np.__version__ == version("numpy")


def test_another_version_is_refused() -> None:
    here = this_place()
    with pytest.raises(OptionError, match=r"has numpy .*, this one 0\.1: install the same"):
        enter(Place(here.folder, (("numpy", "0.1"),)))
    enter(here)
