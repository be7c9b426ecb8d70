"""Every fault drill of the Lava child, once; `make drills TIMES=100` runs them for long."""

import pytest
from drills.run import DRILLS, MOUNTING, may_unshare
from support.lava import installed

pytestmark = pytest.mark.full


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.__name__)
def test_nothing_is_left_and_the_next_run_is_right(drill):
    python = installed()
    if drill in MOUNTING and not may_unshare():
        pytest.skip("this user may not have a mount namespace of their own")
    drill(python, 0)
