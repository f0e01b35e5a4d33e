"""The fleet that scripts/stack.sh starts, end to end: `LOGMILL_BINARY=… python3 scripts/test_stack.py`.

Redis, Postgres and the server of S3 are real, and so are the processes that are killed.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from server_process import http_call

SCRIPT = Path(__file__).parent / "stack.sh"
BINARY = Path(os.environ["LOGMILL_BINARY"]).resolve()
FRESH_WITHIN_S = 2
# A dead worker's lease has to run out first (fleet.lease_ttl_ms).
TAKEN_OVER_WITHIN_S = 20


def runs(pid) -> bool:
    """Whether a process is there and more than a name that nobody has asked for yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class StackTest(unittest.TestCase):
    def setUp(self):
        # Postgres may run as another user, who has to get in.
        folder = tempfile.TemporaryDirectory()
        os.chmod(folder.name, 0o755)
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "stack"
        self.addCleanup(self.stack, "down")
        self.sent = 0
        self.up()

    def stack(self, command):
        settings = {"BINARY": str(BINARY), "DIR": str(self.folder), "PORT_BASE": "free"}
        done = subprocess.run([SCRIPT, command], env=os.environ | settings, stdout=subprocess.PIPE, text=True)
        return done.returncode, done.stdout

    def up(self):
        code, printed = self.stack("up")
        self.assertEqual(code, 0, printed)
        lines = (self.folder / "stack.env").read_text().splitlines()
        known = dict(line.split("=", 1) for line in lines)
        self.api, self.worker, self.query = (
            shlex.split(known[f"{role}_URLS"])[0].split() for role in ("API", "WORKER", "QUERY")
        )

    def pid(self, name):
        return int((self.folder / f"{name}.pid").read_text().split()[0])

    def kill(self, name):
        os.kill(self.pid(name), 9)

    def ingest(self, url, tenant, records=100):
        lines = [json.dumps({"id": self.sent + n, "service": "stack", "message": f"record {self.sent + n}"})
                 for n in range(records)]
        headers = {"Content-Type": "application/x-ndjson", "X-Tenant-ID": tenant}
        status, body = http_call(url, "/ingest", "\n".join(lines).encode(), 60, headers)
        self.assertEqual(status, 200, body)
        self.sent += records

    def found(self, tenant):
        question = {"query": "SELECT count(*), count(DISTINCT message) FROM logs"}
        status, body = http_call(self.query[0], "/sql", question, 60, {"X-Tenant-ID": tenant})
        self.assertEqual(status, 200, body)
        return tuple(json.loads(body)["rows"][0])

    def assert_found(self, tenant, records, within_s):
        deadline = time.monotonic() + within_s
        while (found := self.found(tenant)) != (records, records):
            self.assertLess(time.monotonic(), deadline, f"{found} of {records} within {within_s} s")
            time.sleep(0.02)

    def test_a_fleet_is_started_loses_processes_and_records_of_none_and_is_stopped(self):
        self.assertEqual((len(self.api), len(self.worker), len(self.query)), (2, 2, 1))
        # Tenants are spread over partitions, and those over workers.
        tenants = [f"tenant-{number}" for number in range(8)]
        for number, tenant in enumerate(tenants):
            self.ingest(self.api[number % 2], tenant)
            self.assert_found(tenant, 100, FRESH_WITHIN_S)

        self.kill("worker-1")
        self.kill("api-1")
        self.assertEqual(self.stack("status")[0], 1)
        for tenant in tenants:
            self.assertEqual(self.found(tenant), (100, 100))
            self.ingest(self.api[1], tenant)
            self.assert_found(tenant, 200, FRESH_WITHIN_S)

        # The worker that is left brings all of it into segments.
        status, body = http_call(self.worker[1], "/admin/flush", b"", 2 * TAKEN_OVER_WITHIN_S)
        self.assertEqual(status, 200, body)
        self.assertGreaterEqual(json.loads(body)["segments"], len(tenants))
        self.assertEqual([self.found(tenant) for tenant in tenants], [(200, 200)] * len(tenants))

        self.up()
        self.assertEqual(self.stack("status")[0], 0)
        for tenant in tenants:
            self.ingest(self.api[0], tenant)
            self.assert_found(tenant, 300, FRESH_WITHIN_S)

        pids = [self.pid(path.stem) for path in self.folder.glob("*.pid")]
        self.assertEqual(len(pids), 8)
        code, printed = self.stack("down")
        self.assertEqual((code, printed), (0, ""))
        self.assertEqual([pid for pid in pids if runs(pid)], [])
        self.assertEqual(self.stack("status")[0], 1)


if __name__ == "__main__":
    unittest.main()
