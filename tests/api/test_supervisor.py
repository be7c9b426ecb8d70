from itertools import accumulate, repeat

from api.supervisor import LONGEST_PAUSE_S, longer


def test_a_worker_that_crashes_again_and_again_is_given_longer_and_longer_pauses():
    pauses = list(accumulate(repeat(0.0, 8), lambda pause_s, _: longer(pause_s)))
    assert pauses == [0, 1, 3, 7, 15, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
