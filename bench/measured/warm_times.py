from time import perf_counter


def _times_for(work, milliseconds):
    times = []
    start = perf_counter()
    end = start + milliseconds / 1e3
    while start < end:
        work()
        now = perf_counter()
        times.append((now - start) * 1e3)
        start = now
    return times


def warm_times(work, milliseconds):
    """The milliseconds that each call takes, as many as go into the time; as many before them do not count."""
    _times_for(work, milliseconds)
    return _times_for(work, milliseconds)
