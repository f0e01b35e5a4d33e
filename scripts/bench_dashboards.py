#!/usr/bin/env python3
"""Measures how dashboards and ingest get on together: see bench.sh, which calls it, and docs/benchmarks.md.

A server gets the benchmark's corpus. Then the same file is sent again at half the rate at which it was taken, once alone and
once while so many dashboards are open: each asks for a histogram by level, the latest 100 records and facets, of everything,
waits, and asks again.
"""

import argparse
import http.client
import itertools
import json
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

from bench import Bench, compacted, note
from bench_query import Http, look_into
from ndjson_client import quantile
from server_process import Failed, environment

DASHBOARDS = 16
PARTS = ("1.0", "0.0")


def questions(corpus):
    """What a dashboard shows: method, address and body of each question."""
    everything = {"from": corpus["first"], "to": corpus["end"]}
    span = urllib.parse.urlencode(everything)
    return {
        "histogram": ("GET", f"/histogram?by=level&{span}", None),
        "latest 100": ("POST", "/query", json.dumps(everything | {"limit": 100})),
        "facets": ("GET", f"/facets?{span}", None),
    }


class Dashboards:
    """Dashboards that ask until they are closed."""

    def __init__(self, url, asked, count, pause_s):
        self.url, self.asked, self.pause_s = url, asked, pause_s
        self.times = {name: [] for name in asked}
        self.failures, self.closed = [], threading.Event()
        self.threads = [threading.Thread(target=self.show, args=(at / count,), daemon=True) for at in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_reason):
        self.closed.set()
        for thread in self.threads:
            thread.join()

    def show(self, share):
        # Not all at the same instant.
        self.closed.wait(share * self.pause_s)
        try:
            server = Http(self.url)
            while not self.closed.is_set():
                for name, (method, path, body) in self.asked.items():
                    elapsed, _ = server.ask(path, body, "application/json", method)
                    self.times[name].append(elapsed)
                self.closed.wait(self.pause_s)
        except (Failed, OSError, http.client.HTTPException) as failure:
            self.failures.append(failure)


def latencies(times):
    ordered = sorted(times)
    return {
        "asked": len(ordered), "p50_ms": quantile(ordered, 0.5), "p99_ms": quantile(ordered, 0.99), "max_ms": ordered[-1],
    }


def send(bench, server, rate):
    """Sends the file at a rate, bytes a second; what `load-test` reports."""
    command, report = bench.load_command(server, "--connections", "2", "--rate", f"{rate:.0f}B")
    cpu, begun = server.process.cpu_seconds(), time.perf_counter()
    done = subprocess.run(command, cwd=server.folder, env=environment({}), stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(f"load-test ended with {done.returncode}: see above")
    cores = (server.process.cpu_seconds() - cpu) / (time.perf_counter() - begun)
    measured = json.loads(report.read_text())
    latency = measured["latency_ms"]
    return {
        "mb_per_s": measured["megabytes_per_second"], "ack_p50_ms": latency["p50"], "ack_p99_ms": latency["p99"],
        "server_cores": cores,
    }


def measure(bench, asked, dashboards, pauses):
    with bench.server("dashboards") as server:
        note("loading the file")
        whole = bench.load(server, "--connections", "2", "--flush")["megabytes_per_second"]
        compacted(server)
        rate = whole * 1e6 / 2
        note("sending it again at half the rate, alone")
        alone = send(bench, server, rate)
        result = {"rate_mb_per_s": rate / 1e6, "alone": alone, "with_dashboards": []}
        for pause_s in pauses:
            compacted(server)
            note(f"sending it again at half the rate, {dashboards} dashboards, {pause_s} s between their questions")
            with Dashboards(server.url, asked, dashboards, pause_s) as shown:
                beside = send(bench, server, rate)
            if shown.failures:
                raise Failed(f"a dashboard: {shown.failures[0]}")
            every = list(itertools.chain(*shown.times.values()))
            result["with_dashboards"].append({
                "pause_s": pause_s, "ingest": beside, "ingest_share": beside["mb_per_s"] / alone["mb_per_s"],
                "all": latencies(every), "questions": {name: latencies(times) for name, times in shown.times.items()},
            })
        return result


def print_result(result):
    alone = result["alone"]
    print(f"ingest alone, asked for {result['rate_mb_per_s']:.0f} MB/s: {alone['mb_per_s']:.1f} MB/s, ack p99 {alone['ack_p99_ms']:.1f} ms")
    for run in result["with_dashboards"]:
        ingest = run["ingest"]
        print(
            f"pause {run['pause_s']} s: ingest {ingest['mb_per_s']:.1f} MB/s ({run['ingest_share']:.2f} of alone), "
            f"ack p99 {ingest['ack_p99_ms']:.1f} ms, the server took {ingest['server_cores']:.2f} cores"
        )
        for name, figures in ({"all": run["all"]} | run["questions"]).items():
            print(f"  {name:<12} {figures['asked']:>6} asked  p50 {figures['p50_ms']:8.1f}  p99 {figures['p99_ms']:8.1f}  max {figures['max_ms']:8.1f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=DASHBOARDS, help="how many dashboards")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("parts", nargs="*", default=PARTS, help="seconds between the questions of a dashboard, for each run")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.file.resolve()
    bench = Bench(given.binary.resolve(), file, given.work.resolve(), given.out.resolve())
    result = measure(bench, questions(look_into(file)), given.runs, [float(pause) for pause in given.parts])
    print_result(result)
    (bench.out / "bench-dashboards.json").write_text(json.dumps(result, indent=2) + "\n")
    note(f"written: {bench.out / 'bench-dashboards.json'}")


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, http.client.HTTPException) as failure:
        sys.exit(f"bench: {failure}")
