#!/usr/bin/env python3
"""Both stores on one machine: how fast records come in, what they take on the disk, and what questions take.

Sends the same generated records to a server with segments and to one with a table of Postgres, and waits until all are
flushed. The database has to be empty; it is that of a Postgres on this machine for the figures to mean anything.

    scripts/bench_stores.py --binary PROGRAM --database-url postgres://…/empty [--records 500000] [--out FILE]
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from server_process import Failed, Server, disk_bytes, environment, http_call

QUESTIONS = {
    "newest 100": ("/query", {"from": 0, "limit": 100}),
    "newest 100 errors": ("/query", {"from": 0, "limit": 100, "filters": {"level": "error"}}),
    "a word and a service": ("/query", {"from": 0, "limit": 100, "text": "timeout", "filters": {"service": "payment"}}),
    "count": ("/sql", {"query": "SELECT count(*) FROM logs"}),
    "count of each service": ("/sql", {"query": "SELECT service, count(*) FROM logs GROUP BY service"}),
}
TIMES = 5
# Whoever is slower would refuse records; what counts is when all of them are flushed.
ROOM = {"LOGMILL_STORE__MEMTABLE_MAX_BYTES": str(2 << 30)}


def ask(server, path, question):
    begun = time.perf_counter()
    status, body = http_call(server.url, path, question)
    if status != 200:
        raise Failed(f"{question}: {status} {body[:300]}")
    return time.perf_counter() - begun


def run(arguments, settings):
    work = Path(tempfile.mkdtemp(prefix="logmill-stores-"))
    report = Path(tempfile.mkstemp(prefix="logmill-load-")[1])
    report.unlink()
    with Server(arguments.binary, work, work.with_suffix(".log"), ROOM | settings) as server:
        command = [arguments.binary, "load-test", "--url", server.url, "--report", report]
        command += ["--count", arguments.records, "--connections", "4"]
        begun = time.perf_counter()
        done = subprocess.run([*map(str, command)], env=environment({}), stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Failed(f"load-test ended with {done.returncode}")
        sent = time.perf_counter() - begun
        if http_call(server.url, "/admin/flush", b"")[0] != 200:
            raise Failed("the flush failed")
        whole = time.perf_counter() - begun
        load = json.loads(report.read_text())
        figures = {
            "megabytes": round(load["bytes"] / 1e6, 1),
            "seconds until sent": round(sent, 1),
            "seconds until flushed": round(whole, 1),
            "records per second until flushed": round(arguments.records / whole),
            "processor seconds of logmill": round(server.process.cpu_seconds(), 1),
            "megabytes of segments": round(disk_bytes(server.data / "objects") / 1e6, 1)
            if (server.data / "objects").exists()
            else None,
        }
        for name, (path, question) in QUESTIONS.items():
            ask(server, path, question)
            seconds = [ask(server, path, question) for _ in range(TIMES)]
            figures[f"ms, {name}"] = round(1000 * statistics.median(seconds), 1)
    report.unlink()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    table = {"LOGMILL_STORE__KIND": "postgres", "DATABASE_URL": arguments.database_url}
    figures = {"records": arguments.records, "segments": run(arguments, {}), "postgres": run(arguments, table)}
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
