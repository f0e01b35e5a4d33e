#!/usr/bin/env python3
"""Measures a Logmill binary on a file of NDJSON: see bench.sh, which calls it, and docs/benchmarks.md.

Every part starts servers of its own, with fresh data folders, on free ports. A figure that could not be had
is absent and said on stderr, never replaced by another one.
"""

import argparse
import http.client
import json
import mmap
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import ndjson_client
from server_process import Failed, Process, Server, disk_bytes, environment, http_call

PARTS = ("ingest", "open", "restart", "lookup")
COMPACTION_WAIT_S = 120
RESTART_WAL_BYTES = 1_000_000_000
LOOKUPS = 50
# So large that nothing is flushed while the log grows.
NO_FLUSH = {
    "LOGMILL_STORE__FLUSH_BYTES": str(1 << 36),
    "LOGMILL_STORE__MEMTABLE_MAX_BYTES": str(1 << 36),
    "LOGMILL_STORE__FLUSH_INTERVAL_MS": str(24 * 3_600_000),
}


def note(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Bench:
    """The settings of a run, and what several parts need."""

    def __init__(self, binary, file, work, out):
        self.binary, self.file, self.work, self.out = binary, file, work, out
        self.bytes = file.stat().st_size

    def server(self, name, settings=None):
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return Server(self.binary, folder, self.out / "server.log", settings or {})

    def load_command(self, server, *arguments):
        report = self.out / "load-test.json"
        report.unlink(missing_ok=True)
        command = [self.binary, "load-test", "--url", server.url, "--file", self.file, "--report", report]
        return [*map(str, command), "--batch-bytes", "1MB", *arguments], report

    def load(self, server, *arguments):
        """Sends the file; the report of `logmill load-test`."""
        command, report = self.load_command(server, *arguments)
        # Not in the project's folder: a .env there is not meant for this.
        done = subprocess.run(command, cwd=server.folder, env=environment({}), stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Failed(f"load-test ended with {done.returncode}: see above and {self.out / 'server.log'}")
        measured = json.loads(report.read_text())
        if measured["bytes"] != self.bytes or measured["rejected"]:
            raise Failed(
                f"the server took {measured['bytes']} of {self.bytes} bytes and refused {measured['rejected']} records"
            )
        return measured


def compacted(server):
    """Waits until no compaction is pending; how that went."""
    begun, quiet = time.perf_counter(), 0
    while time.perf_counter() - begun < COMPACTION_WAIT_S:
        status, body = http_call(server.url, "/admin/segments")
        if status == 404:
            return "no such route"
        if status != 200:
            raise Failed(f"GET /admin/segments answered {status}: {body[:200]!r}")
        # Twice in a row: a flush may only just have made work.
        pending = json.loads(body).get("compaction_pending")
        if pending is None:
            raise Failed("GET /admin/segments does not say compaction_pending")
        quiet = quiet + 1 if pending == 0 else 0
        if quiet == 2:
            return "done"
        time.sleep(0.25)
    note(f"compaction was not done after {COMPACTION_WAIT_S} s; the figures are of a server that still works")
    return "not done"


class VictoriaLogs:
    """A running VictoriaLogs that is measured beside Logmill. It keeps what it has: figures are differences."""

    INSERT = "/insert/jsonline?_stream_fields=service,host&_time_field=timestamp&_msg_field=message"
    SETTLE_S = 120

    def __init__(self, url, pid, data):
        self.url, self.data = url.rstrip("/"), data
        self.process = Process(int(pid)) if pid else None

    @classmethod
    def from_environment(cls):
        url = os.environ.get("PEER_VICTORIALOGS_URL")
        if not url:
            return None
        pid, data = os.environ.get("PEER_VICTORIALOGS_PID"), os.environ.get("PEER_VICTORIALOGS_DATA")
        if not pid:
            note("without PEER_VICTORIALOGS_PID the peer's processor time and memory are not known")
        if not data:
            note("without PEER_VICTORIALOGS_DATA the peer's disk is not known")
        return cls(url, pid, data)

    def rows(self):
        status, body = http_call(self.url, "/select/logsql/query", "query=* | stats count() rows")
        if status != 200:
            raise Failed(f"the peer answered {status}: {body[:200]!r}")
        return int(json.loads(body)["rows"])

    def settle(self):
        """Waits until background work is over: at most a hundredth of a core, ten seconds long."""
        begun, samples = time.perf_counter(), []
        while self.process and time.perf_counter() - begun < self.SETTLE_S:
            samples.append(self.process.cpu_seconds())
            if len(samples) > 10 and samples[-1] - samples[-11] <= 0.1:
                return
            time.sleep(1)
        if self.process:
            note(f"the peer still worked {self.SETTLE_S} s later")
        else:
            time.sleep(10)

    def measure(self, file, records):
        cpu, disk, rows = self.process and self.process.cpu_seconds(), self.data and disk_bytes(self.data), self.rows()
        sent = ndjson_client.send(self.url + self.INSERT, file)
        self.settle()
        figures = {
            "mb_per_s": sent["megabytes_per_second"],
            "ack_p50_ms": sent["latency_ms"]["p50"],
            "ack_p99_ms": sent["latency_ms"]["p99"],
        }
        if self.process:
            figures["cpu_s"] = self.process.cpu_seconds() - cpu
            figures["mb_per_cpu_s"] = sent["bytes"] / 1e6 / max(figures["cpu_s"], 0.01)
            figures["peak_rss_mb"] = self.process.peak_rss_bytes() / 1e6
        if self.data:
            figures["disk_mb"] = (disk_bytes(self.data) - disk) / 1e6
        stored = self.rows() - rows
        if stored != records:
            raise Failed(f"the peer stored {stored} of {records} records")
        return figures


def ingest_once(bench, server):
    """Closed loop over 2 connections, flush, compaction: what all of it cost."""
    report = bench.load(server, "--connections", "2", "--flush")
    compaction = compacted(server)
    cpu_seconds = server.process.cpu_seconds()
    return {
        "records": report["records"],
        "retries": report["retries"],
        "compaction": compaction,
        "mb_per_s": report["megabytes_per_second"],
        "cpu_s": cpu_seconds,
        "mb_per_cpu_s": bench.bytes / 1e6 / cpu_seconds,
        "ack_p50_ms": report["latency_ms"]["p50"],
        "ack_p99_ms": report["latency_ms"]["p99"],
        "disk_mb": disk_bytes(server.data / "objects") / 1e6,
        "peak_rss_mb": server.process.peak_rss_bytes() / 1e6,
    }


def summarise(runs):
    """Median, lowest and highest of every figure that all runs have."""
    summary = {}
    for name, value in runs[0].items():
        values = [run.get(name) for run in runs]
        if isinstance(value, float) and None not in values:
            summary[name] = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return summary


def measure_ingest(bench, runs, peer, then):
    """`then` is called with the last server, loaded, before it stops."""
    ours, theirs = [], []
    for run in range(runs):
        with bench.server(f"ingest-{run}") as server:
            ours.append(ingest_once(bench, server))
            note(f"ingest {run + 1} of {runs}: {ours[-1]['mb_per_s']:.0f} MB/s, {ours[-1]['mb_per_cpu_s']:.0f} MB per cpu-s")
            if ours[-1]["compaction"] == "no such route" and run == 0:
                note("the server has no GET /admin/segments: nothing was waited for after the flush")
            if run == runs - 1:
                then(server)
        if peer:
            theirs.append(peer.measure(bench.file, ours[-1]["records"]))
            note(f"the peer: {theirs[-1]['mb_per_s']:.0f} MB/s")
    result = {"runs": ours, "summary": summarise(ours)}
    if theirs:
        pairs = [
            {name: own[name] / value for name, value in other.items() if name in own and value > 0}
            for own, other in zip(ours, theirs)
        ]
        result["victorialogs"] = {"runs": theirs, "summary": summarise(theirs), "ratios": summarise(pairs)}
    return result


def measure_open(bench, closed_mb_per_s):
    """Open loop at half the rate of the closed loop: latency from the time a batch should have been sent."""
    if closed_mb_per_s is None:
        with bench.server("closed") as server:
            closed_mb_per_s = bench.load(server, "--connections", "2")["megabytes_per_second"]
    rate = closed_mb_per_s / 2
    with bench.server("open") as server:
        report = bench.load(server, "--connections", "8", "--rate", f"{rate * 1e6:.0f}B")
    return {
        "rate_mb_per_s": rate,
        "reached_mb_per_s": report["megabytes_per_second"],
        "ack_p50_ms": report["latency_ms"]["p50"],
        "ack_p99_ms": report["latency_ms"]["p99"],
        "ack_max_ms": report["latency_ms"]["max"],
        "retries": report["retries"],
    }


def count_records(server):
    status, body = http_call(server.url, "/sql", {"query": "SELECT count(*) FROM logs"})
    if status != 200:
        raise Failed(f"POST /sql answered {status}: {body[:200]!r}")
    return int(json.loads(body)["rows"][0][0])


def measure_restart(bench):
    """Fills the log, kills the server, and times the next start until it is ready."""
    with bench.server("restart", NO_FLUSH) as server:
        command, _report = bench.load_command(server, "--connections", "2")
        loading = subprocess.Popen(
            command, cwd=server.folder, env=environment({}), stdout=subprocess.DEVNULL
        )
        try:
            while loading.poll() is None and disk_bytes(server.data / "wal") < RESTART_WAL_BYTES:
                time.sleep(0.05)
            if loading.poll() not in (None, 0):
                raise Failed(f"load-test ended with {loading.returncode}: see above")
        finally:
            loading.terminate()
            loading.wait()
        records = count_records(server)
        wal_bytes = disk_bytes(server.data / "wal")
        if any(path.is_file() for path in (server.data / "objects").rglob("*")):
            note("restart: the server flushed although it was told not to; the log holds less than was sent")
        server.kill()
        seconds = server.start()
        found = count_records(server)
        if found < records:
            raise Failed(f"restart: {records} records before the kill, {found} after it")
        return {
            "wal_mb": wal_bytes / 1e6,
            "whole_file": loading.returncode == 0,
            "records": found,
            "ready_s": seconds,
            "wal_mb_per_s": wal_bytes / 1e6 / seconds,
            "cpu_s": server.process.cpu_seconds(),
            "peak_rss_mb": server.process.peak_rss_bytes() / 1e6,
        }


def needles(file):
    """A trace and a rare word from the middle of the file, and what to ask for each."""
    questions = {}
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        middle = len(mapped) // 2

        def value(pattern, mark):
            at = mapped.find(mark, middle)
            at = mapped.find(mark) if at < 0 else at
            found = re.compile(pattern).match(mapped, at) if at >= 0 else None
            return found[1].decode() if found else None

        trace = value(rb'"trace_id":\s?"([^"\\]+)"', b'"trace_id"')
        word = value(rb"(needle-[0-9a-f]+)", b"needle-")
    if trace:
        questions["trace_id"] = {"filters": {"trace_id": trace}}
    if word:
        questions["rare word"] = {"text": word}
    return questions


def measure_lookups(bench, server):
    """Asks each question again and again: the engine's own time, and the caller's."""
    result = {}
    for name, question in needles(bench.file).items():
        body = question | {"from": "1970-01-02T00:00:00Z", "to": "2261-01-01T00:00:00Z", "limit": 100}
        engine, caller, answer = [], [], {}
        for _ in range(LOOKUPS):
            begun = time.perf_counter()
            status, text = http_call(server.url, "/query", body)
            caller.append((time.perf_counter() - begun) * 1e3)
            answer = json.loads(text)
            if status != 200:
                raise Failed(f"lookup of {name}: POST /query answered {status}: {text[:200]!r}")
            engine.append(answer["stats"]["elapsed_ms"])
        if not answer["records"]:
            raise Failed(f"lookup of {name}: {question} is in the file, and was not found")
        result[name] = {
            "asked": question,
            "found": len(answer["records"]),
            "median_ms": statistics.median(engine),
            "minimum_ms": min(engine),
            "first_ms": engine[0],
            "caller_median_ms": statistics.median(caller),
            "stats": answer["stats"],
        }
    for name in {"trace_id", "rare word"} - result.keys():
        note(f"lookup: the file has no {name} to ask for")
    return result


FIGURES = {
    "mb_per_s": "MB/s",
    "mb_per_cpu_s": "MB per cpu-s, compaction included",
    "cpu_s": "processor time, s",
    "ack_p50_ms": "acknowledgement p50, ms",
    "ack_p99_ms": "acknowledgement p99, ms",
    "disk_mb": "disk, MB",
    "peak_rss_mb": "peak memory, MB",
}


def show(rows, first):
    """A table: names left, figures right."""
    rows = [first, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(first))]
    print()
    for row in rows:
        name, *cells = row
        print("  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:]))]))


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def show_ingest(result):
    summary, peer = result["summary"], result.get("victorialogs")
    first = [f"ingest, {len(result['runs'])} runs", "median", "lowest", "highest"]
    if peer:
        first += ["VictoriaLogs", "ratio"]
    rows = []
    for name, title in FIGURES.items():
        row = [title, *(number(summary[name][of]) for of in ("median", "lowest", "highest"))]
        if peer:
            for of in ("summary", "ratios"):
                row.append(number(peer[of][name]["median"]) if name in peer[of] else "-")
        rows.append(row)
    show(rows, first)


def show_all(results):
    if "ingest" in results:
        show_ingest(results["ingest"])
    if "open" in results:
        opened = results["open"]
        show(
            [
                ["acknowledgement p50, ms", number(opened["ack_p50_ms"])],
                ["acknowledgement p99, ms", number(opened["ack_p99_ms"])],
                ["reached, MB/s", number(opened["reached_mb_per_s"])],
            ],
            [f"open loop at {number(opened['rate_mb_per_s'])} MB/s, 8 connections", ""],
        )
    if "restart" in results:
        restart = results["restart"]
        show(
            [
                ["ready after, s", number(restart["ready_s"])],
                ["log read, MB/s", number(restart["wal_mb_per_s"])],
                ["peak memory, MB", number(restart["peak_rss_mb"])],
            ],
            [f"restart after kill -9, {number(restart['wal_mb'])} MB of log", ""],
        )
    if results.get("lookup"):
        show(
            [
                [name, *(number(found[of]) for of in ("median_ms", "minimum_ms", "caller_median_ms"))]
                for name, found in results["lookup"].items()
            ],
            [f"look-up, {LOOKUPS} times, ms", "median", "minimum", "caller's median"],
        )


def machine():
    """What figures depend on."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return {
        "processors": os.cpu_count(),
        "model": model[1] if model else platform.machine(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }


def run(bench, parts, runs):
    """What every part found; a part that failed is named under `failures` and hides no other."""
    results, peer = {"failures": {}}, VictoriaLogs.from_environment()
    if peer and "ingest" not in parts:
        note("the peer is measured by the part ingest, which was not asked for")

    def attempt(part, measure, *arguments):
        if part not in parts:
            return
        note(f"{part} …")
        try:
            results[part] = measure(*arguments)
        except (Failed, OSError, http.client.HTTPException, RuntimeError) as failure:
            results["failures"][part] = str(failure)
            note(f"{part} failed: {failure}")

    def lookups(server):
        attempt("lookup", measure_lookups, bench, server)

    def lookups_alone():
        with bench.server("lookup") as server:
            ingest_once(bench, server)
            return measure_lookups(bench, server)

    attempt("ingest", measure_ingest, bench, runs, peer, lookups)
    if "ingest" not in parts:
        attempt("lookup", lookups_alone)
    closed = results["ingest"]["summary"]["mb_per_s"]["median"] if "ingest" in results else None
    attempt("open", measure_open, bench, closed)
    attempt("restart", measure_restart, bench)
    return results


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binary", required=True, type=Path)
    arguments.add_argument("--file", required=True, type=Path)
    arguments.add_argument("--work", required=True, type=Path)
    arguments.add_argument("--out", required=True, type=Path)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    given = arguments.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown or given.runs < 1:
        arguments.error(f"parts are {', '.join(PARTS)}, runs at least one")
    if not Path("/proc/self/stat").exists():
        arguments.error("processor time and memory are read from /proc: this needs Linux")
    for path in (given.binary, given.file):
        if not path.is_file():
            arguments.error(f"there is no file {path}")
    given.out.mkdir(parents=True, exist_ok=True)
    out = given.out.resolve()
    (out / "server.log").write_text("")
    bench = Bench(given.binary.resolve(), given.file.resolve(), given.work.resolve(), out)
    about = {
        "machine": machine(),
        "binary": subprocess.run([bench.binary, "--version"], capture_output=True, text=True).stdout.strip(),
        "file": {"name": bench.file.name, "bytes": bench.bytes},
    }
    if about["machine"]["load_before"] > 0.5:
        note(f"the machine is not idle (load {about['machine']['load_before']:.1f}): trust ratios, not figures")
    # So that servers are stopped and their data removed then, too.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    results = run(bench, given.parts, given.runs)
    (out / "bench.json").write_text(json.dumps(about | results, indent=2) + "\n")
    show_all(results)
    print(f"\n{out.name}/bench.json has every run.")
    for part, failure in results["failures"].items():
        note(f"{part} failed: {failure}")
    return 1 if results["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
