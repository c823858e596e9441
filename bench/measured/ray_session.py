"""A Ray of its own for one measurement. What it has in /dev/shm has no name there, and is gone with it."""
import os
from contextlib import contextmanager
from tempfile import TemporaryDirectory

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray


@contextmanager
def ray_session(capacity, processors=None):
    # Its daemons may still be at their logs when it is over.
    with TemporaryDirectory(prefix="ndshm-ray-", ignore_cleanup_errors=True) as folder:
        ray.init(
            num_cpus=processors,
            object_store_memory=capacity,
            _plasma_directory="/dev/shm",
            _temp_dir=folder,
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
        )
        try:
            yield
        finally:
            ray.shutdown()
