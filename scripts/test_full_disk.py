"""A server on a disk that is full, end to end: `LOGMILL_BINARY=… python3 scripts/test_full_disk.py`.

The disk is a small tmpfs in a mount namespace of its own, which takes no root. A holder process keeps the namespace,
so that the data outlive the servers. Where there are no such namespaces, this fails and says so.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from server_process import Server, http_call

BINARY = Path(os.environ["LOGMILL_BINARY"]).resolve()
DISK_BYTES = 24 << 20
FILLER_BYTES = 8 << 20
PATIENCE_S = 30
SETTINGS = {
    "LOGMILL_STORE__FLUSH_BYTES": str(1 << 20),
    "LOGMILL_STORE__FLUSH_INTERVAL_MS": "500",
    "LOGMILL_STORE__WAL_FILE_MAX_BYTES": str(1 << 20),
    # Segments are merged when the test says so.
    "LOGMILL_STORE__COMPACTION__FAN_IN": "4",
    "LOGMILL_STORE__COMPACTION__QUIET_AFTER_MS": "3600000",
}


class SmallDisk:
    """A tmpfs that only processes in its namespace see, and this one through /proc."""

    def __init__(self, folder):
        script = f"mount -t tmpfs -o size={DISK_BYTES} tmpfs '{folder}' && echo mounted && exec sleep 86400"
        self.holder = subprocess.Popen(["unshare", "-rm", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
        if self.holder.stdout.readline().strip() != "mounted":
            raise unittest.TestCase.failureException(
                "no tmpfs could be mounted in a namespace (unshare -rm): a full disk cannot be tested here"
            )
        self.seen = Path(f"/proc/{self.holder.pid}/root{folder}")
        self.prefix = ["nsenter", "-t", str(self.holder.pid), "-U", "-m", "--preserve-credentials"]

    def free_bytes(self):
        state = os.statvfs(self.seen)
        return state.f_bavail * state.f_frsize

    def fill(self, leave=0):
        """A file takes all that is free but so many bytes."""
        with open(self.seen / "filler", "ab", buffering=0) as filler:
            while (free := self.free_bytes()) > leave:
                filler.write(bytes(min(free - leave, 1 << 16)))

    def relieve(self):
        (self.seen / "filler").unlink(missing_ok=True)

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


class FullDiskTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = Path(temporary.name) / "disk"
        folder.mkdir()
        self.log = Path(temporary.name) / "server.log"
        self.disk = SmallDisk(folder)
        self.addCleanup(self.disk.close)
        self.server = Server(BINARY, folder, self.log, SETTINGS, self.disk.prefix)
        self.addCleanup(lambda: self.server.child and self.server.child.poll() is None and self.server.kill())
        self.server.start()
        self.random, self.sent, self.acknowledged = random.Random(1), 0, 0

    def ingest(self, records, padding=400):
        """Sends records that hardly compress; the answer."""
        lines = []
        for _ in range(records):
            text = self.random.randbytes(padding).hex()
            lines.append(json.dumps({"id": self.sent, "service": "disk", "message": text}))
            self.sent += 1
        headers = {"Content-Type": "application/x-ndjson"}
        status, body = http_call(self.server.url, "/ingest", "\n".join(lines).encode(), 60, headers)
        if status == 200:
            self.acknowledged += records
        else:
            self.sent -= records
        return status, json.loads(body)

    def admin(self, what):
        status, body = http_call(self.server.url, f"/admin/{what}", b"", 60)
        return status, json.loads(body)

    def assert_all_there(self):
        status, body = http_call(self.server.url, "/sql", {"query": "SELECT count(*), count(DISTINCT id) FROM logs"}, 60)
        self.assertEqual(status, 200, body)
        self.assertEqual(json.loads(body)["rows"], [[self.acknowledged, self.acknowledged]])

    def write_until_full(self):
        for _ in range(2000):
            status, answer = self.ingest(100)
            if status == 503:
                return answer
            # Its own bounds may come first: a flush that fails keeps the memtable.
            self.assertIn(status, (200, 429), answer)
        self.fail("the disk did not become full")

    def wait_for(self, what, question):
        deadline = time.monotonic() + PATIENCE_S
        while (seen := question()) is not True:
            self.assertLess(time.monotonic(), deadline, f"{what}: {seen}")
            time.sleep(0.2)

    def readiness(self):
        status, body = http_call(self.server.url, "/health/ready", timeout=60)
        failing = {c["name"]: c["failure"] for c in json.loads(body)["components"] if c["status"] != "ok"}
        self.assertNotIn(str(self.server.folder), body.decode(), "paths of the server are nobody's business")
        return status, failing

    def assert_not_ready(self, component):
        """Readiness names the component, and the full disk as its reason."""

        def named():
            status, failing = self.readiness()
            return (status == 503 and "no space left" in failing.get(component, "")) or (status, failing)

        self.wait_for("readiness", named)

    def assert_says_disk_full(self, answer):
        message = answer["error"]["message"]
        self.assertEqual(answer["error"]["code"], "disk_full", self.log.read_text()[-2000:])
        self.assertIn("no space left", message)
        self.assertIn("make room", message)
        self.assertNotIn(str(self.server.folder), message, "paths of the server are nobody's business")

    def test_writers_are_refused_readers_answered_and_all_goes_on_when_space_returns(self):
        filler = self.disk.free_bytes() - FILLER_BYTES
        self.disk.fill(leave=filler)
        self.assert_says_disk_full(self.write_until_full())
        self.assert_all_there()
        self.assert_not_ready("wal")
        self.disk.fill()
        status, answer = self.admin("flush")
        self.assertEqual(status, 503, answer)
        self.assert_says_disk_full(answer)
        self.assert_not_ready("object_store")

        self.server.kill()
        self.server.start("/health")
        self.assert_all_there()
        # A start removes what unfinished flushes left, which makes some room.
        self.disk.fill()
        status, answer = self.ingest(100)
        self.assertEqual(status, 503, answer)
        self.assert_all_there()

        self.disk.relieve()
        self.wait_for("writers", lambda: self.ingest(10)[0] == 200)
        self.wait_for("readiness", lambda: self.readiness() == (200, {}) or self.readiness())
        self.assertEqual(self.admin("flush")[0], 200)
        self.assert_all_there()
        self.assertEqual(self.server.terminate(), 0)
        self.server.start()
        self.assert_all_there()

    def test_a_disk_that_is_full_during_compaction_leaves_the_segments_as_they_are(self):
        for _ in range(3):
            self.assertEqual(self.ingest(300)[0], 200)
            self.assertEqual(self.admin("flush")[0], 200)
        # Room for the fourth segment, which makes a merge due, and not for all four once more.
        self.assertEqual(self.ingest(300)[0], 200)
        self.disk.fill(leave=200_000)
        self.assertEqual(self.admin("flush")[0], 200)
        status, answer = self.admin("compact")
        self.assertEqual(status, 503, answer)
        self.assert_says_disk_full(answer)
        self.assert_all_there()
        self.disk.relieve()
        self.assertEqual(self.admin("compact")[0], 200)
        self.assert_all_there()

    def test_wherever_the_space_ends_nothing_is_lost_and_it_goes_on(self):
        """So little is left in turn that the log, an object, or the catalog's commit is what finds no room."""
        outcomes = set()
        for kilobytes in [*range(0, 240, 4), 400, 800]:
            self.disk.relieve()
            # What failed before is settled first: else it adds up, and no flush fits any more.
            self.wait_for("flush", lambda: self.admin("flush")[0] == 200)
            self.wait_for("writers", lambda: self.ingest(50)[0] == 200)
            self.disk.fill(leave=kilobytes << 10)
            ingested = self.ingest(20)
            flushed = self.admin("flush")
            for status, answer in (ingested, flushed):
                self.assertIn(status, (200, 503), (kilobytes, answer))
                if status == 503:
                    self.assert_says_disk_full(answer)
            outcomes.add((ingested[0], flushed[0]))
            self.assert_all_there()
            if kilobytes % 32 == 0:
                self.server.kill()
                self.server.start("/health")
                self.assert_all_there()
        self.assertLessEqual({(503, 503), (200, 503), (200, 200)}, outcomes)
        log = self.log.read_text()
        for whose in ("write-ahead log", "object store", "catalog"):
            self.assertRegex(log, rf"{whose}.*(No space left|disk is full)", f"the {whose} never met the full disk")
        self.disk.relieve()
        self.wait_for("flush", lambda: self.admin("flush")[0] == 200)
        self.assert_all_there()


if __name__ == "__main__":
    unittest.main()
