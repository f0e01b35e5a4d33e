"""A `logmill serve` as a child process: starting it, asking it, and what it costs. For the scripts beside it."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The server did not do what the script needs."""


class Process:
    """What a process on this machine cost, from /proc."""

    def __init__(self, pid):
        self.pid = pid

    def cpu_seconds(self):
        """User and system time so far."""
        # The name, in parentheses, may hold anything.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def _memory_bytes(self, name):
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{name}:\s+(\d+) kB", status, re.M)[1]) * 1024

    def rss_bytes(self):
        return self._memory_bytes("VmRSS")

    def peak_rss_bytes(self):
        return self._memory_bytes("VmHWM")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def http_call(url, path, body=None, timeout=600, headers=None):
    """(status, body); bytes go as they are, a string as a form, anything else as JSON."""
    target = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname, target.port or 80, timeout=timeout)
    headers = dict(headers or {})
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        elif isinstance(body, bytes):
            connection.request("POST", path, body, headers)
        elif isinstance(body, str):
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request("POST", path, body, headers)
        else:
            headers["Content-Type"] = "application/json"
            connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def disk_bytes(folder):
    """As `du -sb` counts; a file that a compaction deletes meanwhile is no error."""
    answer = subprocess.run(["du", "-sb", folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return int(answer.stdout.split()[0])


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(settings):
    """The caller's, without its variables of ours, and settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOGMILL_")}
    # A setting of the server, with its section, is what somebody wants to try.
    kept |= {name: value for name, value in os.environ.items() if re.match(r"LOGMILL_[A-Z]+__", name)}
    return kept | settings


class Server(contextlib.AbstractContextManager):
    """A `logmill serve` on a free port; leaving its block stops it and removes its data."""

    def __init__(self, binary, folder, log, settings, prefix=()):
        """`prefix`: a command that runs the server in its own place, and becomes it."""
        self.binary, self.folder, self.log, self.settings, self.prefix = binary, folder, log, settings, prefix
        self.data, self.child = folder / "data", None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, path="/health/ready"):
        """Starts and waits until ready (until `path` answers 200); the seconds that took."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with open(self.log, "a", encoding="utf-8") as log:
            begun = time.perf_counter()
            self.child = subprocess.Popen(
                [*self.prefix, self.binary, "serve", "--data-dir", self.data, "--listen", f"127.0.0.1:{port}"],
                # Not in the project's folder: a .env there is not meant for this.
                cwd=self.folder,
                env=environment(self.settings),
                stdout=log,
                stderr=log,
            )
        self.process = Process(self.child.pid)
        while time.perf_counter() - begun < 600:
            if self.child.poll() is not None:
                raise Failed(f"the server did not start: see {self.log}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if http_call(url, path)[0] == 200:
                    self.url = url
                    return time.perf_counter() - begun
            time.sleep(0.002)
        raise Failed("the server was not ready after 600 s")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def terminate(self, patience_s=60):
        """SIGTERM; the exit code, or None when it was still there after so long (and was killed)."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def __exit__(self, *_reason):
        if self.child and self.child.poll() is None and self.terminate() is None:
            print("the server did not stop within 60 s of SIGTERM", file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)
