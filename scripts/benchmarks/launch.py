"""Run a command; print its wall seconds and peak resident bytes as JSON.

    python -I -S launch.py COMMAND…

A process of its own, and a small one: Linux counts what the parent held at the fork into a child's peak.
"""

import json
import os
import sys
import time

started = time.perf_counter()
child = os.posix_spawnp(
    sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "bytes": usage.ru_maxrss * 1024}))
sys.exit(os.waitstatus_to_exitcode(status) != 0)
