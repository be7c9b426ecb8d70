from api.redis.run_times import KEPT, MAX_PLACES, RunTimes


def test_the_median_decides_not_the_mean_nor_the_last():
    times = RunTimes(0.001)
    assert not times.long("digest", "target")
    times.observe("digest", "target", 0.002)
    assert times.long("digest", "target")
    assert not times.long("digest", "other")
    for _ in range(2):
        times.observe("digest", "target", 0.0001)
    assert not times.long("digest", "target")
    for _ in range(3):
        times.observe("digest", "target", 100.0)
    assert times.long("digest", "target")


def test_old_runs_are_forgotten():
    times = RunTimes(0.001)
    for _ in range(100 * KEPT):
        times.observe("digest", "target", 1.0)
    for _ in range(KEPT):
        times.observe("digest", "target", 0.0)
    assert not times.long("digest", "target")


def test_a_model_is_forgotten_and_places_are_bounded():
    times = RunTimes(0.001)
    for target in ("one", "two"):
        times.observe("digest", target, 1.0)
    times.forget("digest")
    assert not times.long("digest", "one")
    for n in range(MAX_PLACES + 1):
        times.observe(str(n), "target", 1.0)
    assert not times.long("0", "target")
    assert times.long(str(MAX_PLACES), "target")
