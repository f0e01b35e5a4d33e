#!/usr/bin/env python3
"""Keeps a Logmill under mixed load for a time, restarts it at random moments, and checks that nothing is lost.

Writers send numbered records to three tenants: `kept` keeps all, `bounded` has retention by bytes, `erased` has
deletes. Readers ask every kind of question whose answer the ledger (soak_ledger.py) knows. The server is killed and
stopped in turn. Ends with a table, soak.json and soak.svg (soak_report.py); exit code 1 when a record was lost or
doubled, an answer was wrong, or a figure grew without bound.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import ndjson_client
import soak_report
from server_process import Failed, Server, disk_bytes, environment, http_call
from soak_ledger import ACKNOWLEDGED, GIVEN_UP, LATE_US, LINES_MAX, LOT_BATCHES, PART_BITS, Ledger, is_late

# Small bounds, so that minutes see what otherwise takes days.
SETTINGS = {
    "STORE__MEMTABLE_MAX_BYTES": 32 << 20,
    "STORE__FLUSH_BYTES": 4 << 20,
    "STORE__FLUSH_INTERVAL_MS": 2_000,
    "STORE__WAL_FILE_MAX_BYTES": 4 << 20,
    "STORE__IDEMPOTENCY_TTL_MS": 120_000,
    "STORE__COMPACTION__FAN_IN": 4,
    "STORE__COMPACTION__SEGMENT_MAX_BYTES": 64 << 20,
    "STORE__COMPACTION__QUIET_AFTER_MS": 5_000,
    "STORE__COMPACTION__MEMORY_BYTES": 16 << 20,
    "STORE__RETENTION__CHECK_INTERVAL_MS": 2_000,
    "STORE__RETENTION__TENANTS__BOUNDED__MAX_BYTES": 4 << 20,
    "QUERY__MEMORY_MAX_BYTES": 256 << 20,
    "QUERY__METADATA_CACHE_BYTES": 16 << 20,
    "SERVER__INFLIGHT_MAX_BYTES": 32 << 20,
}
# The tenant and the number of its connections.
WRITERS = [("kept", 2), ("bounded", 2), ("erased", 1)]
SERVICES = ["payments", "search", "gateway", "mail", "cart"]
LEVELS = ["debug", "info", "info", "info", "warn", "error"]
WORDS = "request for user finished after retry connection pool cache miss upstream timeout order accepted".split()
LINES_MEAN = LINES_MAX / 2
SPAN_LINES = 8  # lines of a batch that share a trace


def note(text):
    print(f"soak: {text}", file=sys.stderr, flush=True)


def trace_id(tenant, number, line):
    return f"{ord(tenant[0]):08x}{number:016x}{line // SPAN_LINES:08x}"


def word_of(number):
    return f"batch{number}x"


def body_of(tenant, batch):
    """The batch as NDJSON, its lines out of order. The same bytes each time, as an agent's retry has."""
    chance = random.Random(f"{tenant} {batch.number}")
    order = list(range(batch.lines))
    chance.shuffle(order)
    lines = []
    for line in order:
        t_us = batch.base_us + line - (LATE_US if is_late(line) else 0)
        text = " ".join(chance.choices(WORDS, k=12))
        lines.append(
            f'{{"timestamp":{t_us},"level":"{chance.choice(LEVELS)}","service":"{chance.choice(SERVICES)}",'
            f'"host":"node-{batch.number % 7}","trace_id":"{trace_id(tenant, batch.number, line)}",'
            f'"batch":{batch.number},"line":{line},"lot":{batch.number // LOT_BATCHES},'
            f'"message":"{word_of(batch.number)} line {line} {text}"}}\n'
        )
    return "".join(lines).encode()


class Disturbed(Exception):
    """The server was restarted meanwhile, or asked to come again: no verdict on it."""


class Soak:
    def __init__(self, given, server):
        self.given, self.server = given, server
        self.ledgers = {tenant: Ledger(tenant, retained=tenant != "bounded") for tenant, _ in WRITERS}
        self.begun = time.perf_counter()
        self.stop = threading.Event()
        self.lock = threading.Lock()
        # Counts its starts, so that a failed call can tell whether the server was gone meanwhile.
        self.generation, self.up = 0, True
        self.faults, self.samples, self.restarts, self.counts = [], [], [], {}
        self.bytes_acknowledged, self.latencies = 0, []

    def elapsed(self):
        return time.perf_counter() - self.begun

    def fault(self, text):
        with self.lock:
            self.faults.append({"t": self.elapsed(), "fault": text})
        note(f"FAULT: {text}")

    def count(self, name, by=1):
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + by

    def call(self, path, body=None, tenant=None, headers=None, refusal=None):
        """The answer's body, or None for a 400 with the words `refusal`; Disturbed when there is no answer and the
        server has an excuse."""
        generation = self.generation
        headers = dict(headers or {}) | ({"X-Tenant-ID": tenant} if tenant else {})
        try:
            status, text = http_call(self.server.url, path, body, 120, headers)
        except (OSError, http.client.HTTPException) as error:
            if self.up and generation == self.generation and self.server.child.poll() is None:
                time.sleep(0.5)  # a kill that is only just happening
                if self.up and generation == self.generation:
                    self.fault(f"{path}: {error!r} from a server that runs")
            raise Disturbed from error
        if status in (429, 503):
            # 503 is what a server says that is stopping; one that runs has no reason.
            if status == 503 and self.up and generation == self.generation:
                self.fault(f"{path}: 503 from a server that was not told to stop: {text[:300]!r}")
            self.count(f"answers {status}")
            raise Disturbed
        if status == 400 and refusal and refusal in text:
            return None
        if status >= 300:
            self.fault(f"{path}: {status} {text[:300]!r} to {str(body)[:200]}")
            raise Disturbed
        return text

    def sql(self, query, tenant):
        """The rows. None of them when no record has a column that is asked for: a table's columns are those of the
        records it holds, and all of a tenant's may be deleted."""
        answer = self.call("/sql", {"query": query}, tenant, refusal=b"there is no column")
        return json.loads(answer)["rows"] if answer else []

    def sql_count(self, where, tenant):
        return sum(row[0] for row in self.sql(f"SELECT count(*) FROM logs WHERE {where}", tenant))

    # Writers

    def write(self, tenant, writer, pause_s):
        chance, ledger = random.Random(f"{self.given.seed} {tenant} {writer}"), self.ledgers[tenant]
        due = time.perf_counter() + chance.random() * pause_s
        while not self.stop.wait(max(due - time.perf_counter(), 0)):
            # No hurry to make up for what a restart held up: the rate is a bound.
            due = max(due + pause_s, time.perf_counter() - 1)
            batch = ledger.open(chance.randint(1, LINES_MAX))
            self.send(tenant, ledger, batch, chance)

    def send(self, tenant, ledger, batch, chance):
        """Until it is acknowledged, with the same key; `bounded` and `erased` give some unanswered ones up."""
        body = body_of(tenant, batch)
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f"{tenant}-{batch.number}"}
        first, deadline = None, time.perf_counter() + 100
        while True:
            try:
                answer = self.call("/ingest", body, tenant, headers)
                if first is None:
                    first = answer
                    if json.loads(answer)["accepted"] != batch.lines:
                        self.fault(f"tenant {tenant}, batch {batch.number}: {answer[:300]!r} for {batch.lines} records")
                    ledger.close(batch, ACKNOWLEDGED)
                    with self.lock:
                        self.bytes_acknowledged += len(body)
                    if chance.random() >= 0.03:
                        return
                    self.count("retries of acknowledged batches")  # once more, as an agent whose answer was lost
                    continue
                if answer != first:
                    self.fault(f"tenant {tenant}, batch {batch.number}: a retry got {answer[:200]!r} after {first[:200]!r}")
                return
            except Disturbed:
                if first is not None:
                    return
                if (tenant != "kept" and chance.random() < 0.1) or time.perf_counter() > deadline:
                    ledger.close(batch, GIVEN_UP)
                    self.count("batches given up")
                    return
                self.count("retries of unanswered batches")
                time.sleep(0.1 + chance.random() * 0.3)

    # Readers: each asks one question and checks the answer.

    def ask_count(self, chance):
        """A count over a closed range is exact, in SQL as in its parts and as a stream."""
        chosen = self.ledgers["kept"].closed_range(chance)
        if chosen is None:
            return
        start, end, expected = chosen
        where = f"timestamp >= to_timestamp_micros({start}) AND timestamp < to_timestamp_micros({end})"
        kind = chance.choice(["count", "levels", "histogram", "stream"])
        if kind == "count":
            found = self.sql_count(where, "kept")
        elif kind == "levels":
            found = sum(r[1] for r in self.sql(f"SELECT level, count(*) FROM logs WHERE {where} GROUP BY level", "kept"))
        elif kind == "histogram":
            bucket = "date_bin(INTERVAL '1 second', timestamp)"
            rows = self.sql(f"SELECT {bucket} AS b, count(*) FROM logs WHERE {where} GROUP BY b ORDER BY b", "kept")
            found = sum(row[1] for row in rows)
        else:
            if expected > 20_000:
                return
            question = {"from": str(start), "to": str(end), "limit": 50_000, "fields": ["batch", "line"]}
            text = self.call("/query", question, "kept", {"Accept": "application/x-ndjson"})
            records = [json.loads(line) for line in text.splitlines()]
            found = len({(record["batch"], record["line"]) for record in records})
            if found != len(records):
                self.fault(f"stream of {start}..{end}: {len(records)} records, {found} different ones")
        if found != expected:
            self.fault(f"{kind} of {start}..{end}: {found}, but {expected} records are acknowledged there")

    def ask_batch(self, chance):
        """The word that a batch alone has finds its lines, and no others."""
        tenant = chance.choice(["kept", "erased"])
        batch = self.ledgers[tenant].acknowledged_batch(chance)
        if batch is None:
            return
        range_ = {"from": str(batch.base_us - LATE_US), "to": str(batch.base_us + LINES_MAX)}
        question = range_ | {"text": word_of(batch.number), "limit": 1000, "order": chance.choice(["asc", "desc"])}
        records = json.loads(self.call("/query", question, tenant))["records"]
        found = sorted(record["line"] for record in records)
        if found != list(range(batch.lines)) and not self.deleting(tenant, batch):
            self.fault(f"search for batch {batch.number} of {tenant}: {len(found)} records, sent were {batch.lines}")

    def deleting(self, tenant, batch):
        return batch.number // LOT_BATCHES in self.ledgers[tenant].lots_deleting

    def ask_trace(self, chance):
        batch = self.ledgers["kept"].acknowledged_batch(chance)
        if batch is None:
            return
        line = chance.randrange(batch.lines)
        first = line // SPAN_LINES * SPAN_LINES
        expected = list(range(first, min(first + SPAN_LINES, batch.lines)))
        question = {
            "from": str(batch.base_us - LATE_US),
            "to": str(batch.base_us + LINES_MAX),
            "filters": {"trace_id": trace_id("kept", batch.number, line)},
        }
        records = json.loads(self.call("/query", question, "kept"))["records"]
        if sorted(record["line"] for record in records) != expected:
            self.fault(f"trace of batch {batch.number}, line {line}: {len(records)} records, sent were {len(expected)}")

    def ask_newest(self, chance):
        """Two pages of the newest records: in order, each record once, and what was just acknowledged is there."""
        tenant = chance.choice(list(self.ledgers))
        question, seen, times = {"from": "-5m", "limit": 200, "fields": ["timestamp", "batch", "line"]}, [], []
        for _ in range(2):
            page = json.loads(self.call("/query", question, tenant))
            seen += [(record["batch"], record["line"]) for record in page["records"]]
            times += [record["timestamp"].rstrip("Z") for record in page["records"]]
            if page["next_cursor"] is None:
                break
            question["cursor"] = page["next_cursor"]
        if len(set(seen)) != len(seen):
            self.fault(f"newest of {tenant}: a record is on two pages")
        # A fraction of a second is written as long as it needs to be.
        instants = [(text.partition(".")[0], text.partition(".")[2].ljust(9, "0")) for text in times]
        if instants != sorted(instants, reverse=True):
            self.fault(f"newest of {tenant}: not in order")
        unsent = [number for number, _ in seen if number >= len(self.ledgers[tenant].batches)]
        if unsent:
            self.fault(f"newest of {tenant}: batch {unsent[0]} was never sent")

    def ask_deleted(self, chance):
        lots = list(self.ledgers["erased"].lots_deleted)
        if lots:
            lot = chance.choice(lots)
            found = self.sql_count(f"lot = {lot}", "erased")
            if found:
                self.fault(f"lot {lot} was deleted, and {found} of its records are found")

    def read(self, reader):
        chance = random.Random(f"{self.given.seed} reader {reader}")
        questions = [self.ask_count, self.ask_count, self.ask_batch, self.ask_trace, self.ask_newest, self.ask_deleted]
        while not self.stop.wait(chance.random() * 0.4):
            question, begun = chance.choice(questions), time.perf_counter()
            with contextlib.suppress(Disturbed):
                question(chance)
                self.count(question.__name__.replace("_", " "))
                with self.lock:
                    self.latencies.append((time.perf_counter() - begun) * 1e3)

    # What else happens

    def disturb(self):
        """Flushes, compactions and deletes, now and then."""
        chance = random.Random(f"{self.given.seed} disturb")
        while not self.stop.wait(chance.uniform(0.5, 1.5) * self.given.admin_interval):
            with contextlib.suppress(Disturbed):
                what = chance.choice(["flush", "compact", "delete", "delete"])
                if what != "delete":
                    self.call(f"/admin/{what}", b"")
                elif (lot := self.ledgers["erased"].closed_lot(chance)) is not None:
                    self.delete(lot)
                else:
                    continue
                self.count(what)

    def delete(self, lot):
        while True:
            try:
                self.call("/admin/delete", {"filters": {"lot": lot}}, "erased")
                self.ledgers["erased"].deleted(lot)
                return
            except Disturbed:  # deleting again what may be deleted is harmless
                if self.stop.wait(0.3):
                    return

    def restart(self, kind):
        self.up = False
        before = self.server.process.rss_bytes()
        if kind == "kill -9":
            self.server.kill()
        elif (code := self.server.terminate()) != 0:
            self.fault(f"SIGTERM: the server ended with {code}")
        ready_s = self.server.start()
        self.generation += 1
        self.up = True
        self.restarts.append({"t": self.elapsed(), "kind": kind, "ready_s": ready_s, "rss_mb_before": before / 1e6})

    def sample(self, state={"bytes": 0, "t": 0.0}):
        """One row of figures; those that a restart makes unreadable are absent."""
        t = self.elapsed()
        with self.lock:
            total, latencies, self.latencies = self.bytes_acknowledged, sorted(self.latencies), []
        row = {"t": t, "ingest_mb_per_s": (total - state["bytes"]) / 1e6 / max(t - state["t"], 0.001)}
        state["bytes"], state["t"] = total, t
        if latencies:
            row["query_p50_ms"] = ndjson_client.quantile(latencies, 0.5)
            row["query_p99_ms"] = ndjson_client.quantile(latencies, 0.99)
        with contextlib.suppress(Disturbed, OSError, TypeError):
            row["rss_mb"] = self.server.process.rss_bytes() / 1e6
            row["open_files"] = self.server.process.open_files()
            row["wal_mb"] = disk_bytes(self.server.data / "wal") / 1e6
            row["disk_mb"] = disk_bytes(self.server.data) / 1e6
            row["object_files"] = sum(len(files) for _, _, files in os.walk(self.server.data / "objects"))
            metrics = self.call("/metrics").decode()
            row["segments"] = next(int(float(l.split()[1])) for l in metrics.splitlines() if l.startswith("logmill_segments "))
            listed = json.loads(self.call("/admin/segments", tenant="bounded"))
            row["debt"] = listed["compaction_pending"]
            row["bounded_mb"] = sum(segment["bytes"] for segment in listed["segments"]) / 1e6
        self.samples.append(row)

    def check(self):
        """Compares all that is stored with the ledger; False when a restart came between."""
        query = (
            f"SELECT batch, line / {PART_BITS} AS part, count(*), bit_or(1 << (line % {PART_BITS})) "
            "FROM logs GROUP BY 1, 2"
        )
        for tenant, ledger in self.ledgers.items():
            expectation = ledger.expectation()
            if not expectation[0]:
                continue
            found = {}
            try:
                rows = self.sql(query, tenant)
            except Disturbed:
                return False
            for number, part, records, bits in rows:
                entry = found.setdefault(number, [0, {}])
                entry[0] += records
                entry[1][part] = bits
            faults = ledger.faults(expectation, found)
            for text in faults[:10]:
                self.fault(text)
            if len(faults) > 10:
                self.fault(f"… and {len(faults) - 10} more of tenant {tenant}")
        self.count("full checks")
        return True

    def run(self):
        given, chance = self.given, random.Random(f"{self.given.seed} restarts")
        # Three hundred bytes a record, about.
        connections = sum(number for _, number in WRITERS)
        mean_bytes = statistics.mean(
            len(body_of("kept", Ledger("kept").open(int(LINES_MEAN)))) for _ in range(3)
        )
        pause_s = mean_bytes * connections / (given.rate * 1e6)
        threads = [
            threading.Thread(target=self.write, args=(tenant, writer, pause_s), daemon=True)
            for tenant, number in WRITERS
            for writer in range(number)
        ]
        threads += [threading.Thread(target=self.read, args=(reader,), daemon=True) for reader in range(2)]
        threads.append(threading.Thread(target=self.disturb, daemon=True))
        for thread in threads:
            thread.start()
        kinds = ["kill -9", "SIGTERM"]
        next_restart = given.restart_interval * chance.uniform(0.5, 1.5)
        next_check = given.check_interval
        next_note = 10.0
        while self.elapsed() < given.seconds:
            time.sleep(given.sample_interval)
            self.sample()
            now = self.elapsed()
            if now >= next_check and self.check():
                next_check = self.elapsed() + given.check_interval
            if now >= next_restart:
                time.sleep(chance.random())
                self.restart(kinds[len(self.restarts) % 2])
                next_restart = self.elapsed() + given.restart_interval * chance.uniform(0.5, 1.5)
            if now >= next_note:
                next_note = now + max(10, given.seconds / 60)
                records = sum(ledger.acknowledged_records() for ledger in self.ledgers.values())
                note(f"{now:.0f} of {given.seconds} s: {records:,} records, {len(self.restarts)} restarts, {len(self.faults)} faults")
        self.stop.set()
        for thread in threads:
            thread.join(120)
            if thread.is_alive():
                self.fault("a client got no end within 120 s")
        self.finish()

    def finish(self):
        """Everything once more, with nothing under way: as it is, after a stop, a kill and a compaction."""
        for kind in (None, "SIGTERM", "kill -9"):
            if kind:
                self.restart(kind)
            if not self.check():
                self.fault(f"the last check was not answered ({kind or 'no restart'})")
        try:
            self.call("/admin/flush", b"")
            self.call("/admin/compact", b"")
        except Disturbed:
            self.fault("the last compaction failed")
        if not self.check():
            self.fault("the check after the last compaction was not answered")
        self.check_retention()
        if (code := self.server.terminate()) != 0:
            self.fault(f"SIGTERM: the server ended with {code}")
        doctor = subprocess.run(
            [self.server.binary, "doctor", "--data-dir", self.server.data],
            cwd=self.server.folder, env=environment({}), capture_output=True, text=True,
        )
        if doctor.returncode != 0:
            self.fault(f"logmill doctor: {doctor.stdout[-500:]} {doctor.stderr[-500:]}")


    def check_retention(self):
        """Nothing comes any more: within some rounds the tenant with a bound is below it."""
        bound, deadline, held = SETTINGS["STORE__RETENTION__TENANTS__BOUNDED__MAX_BYTES"], time.perf_counter() + 20, None
        while time.perf_counter() < deadline:
            with contextlib.suppress(Disturbed):
                segments = json.loads(self.call("/admin/segments", tenant="bounded"))["segments"]
                held = sum(segment["bytes"] for segment in segments)
                if held <= bound:
                    return
            time.sleep(0.5)
        self.fault(f"tenant bounded holds {held} bytes, its retention allows {bound}")


def report(soak, given, version):
    records = {tenant: ledger.acknowledged_records() for tenant, ledger in soak.ledgers.items()}
    growth = soak_report.growth_faults(soak.samples)
    for text in growth or []:
        soak.fault(text)
    result = {
        "binary": version,
        "seconds": given.seconds,
        "rate_mb_per_s": given.rate,
        "seed": given.seed,
        "settings": SETTINGS,
        "acknowledged_records": records,
        "acknowledged_mb": soak.bytes_acknowledged / 1e6,
        "lots_deleted": len(soak.ledgers["erased"].lots_deleted),
        "counts": soak.counts,
        "faults": soak.faults,
        "restarts": soak.restarts,
        "samples": soak.samples,
    }
    (given.out / "soak.json").write_text(json.dumps(result, indent=1) + "\n")
    total = sum(records.values())
    subtitle = (
        f"{given.seconds} s, {total:,} records ({soak.bytes_acknowledged / 1e6:,.0f} MB) acknowledged, "
        f"{len(soak.restarts)} restarts (red: kill -9, grey: SIGTERM), {len(soak.faults)} faults"
    )
    picture = soak_report.plot("Logmill under mixed load", subtitle, soak.elapsed(), soak.samples, soak.restarts)
    (given.out / "soak.svg").write_text(picture)
    print(soak_report.table(soak.samples, soak.restarts))
    print()
    print(subtitle)
    print(", ".join(f"{name}: {count:,}" for name, count in sorted(soak.counts.items())))
    if growth is None:
        print("too short a run to tell whether anything grows")
    print(f"{given.out.name}/soak.json has every sample, {given.out.name}/soak.svg the plot.")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binary", required=True, type=Path)
    arguments.add_argument("--out", required=True, type=Path, help="where the reports and the server's log go")
    arguments.add_argument("--work", required=True, type=Path, help="where the server keeps its data meanwhile")
    arguments.add_argument("--seconds", type=int, default=120)
    arguments.add_argument("--rate", type=float, default=4.0, help="MB/s, all connections together")
    arguments.add_argument("--seed", type=int, default=int(time.time()))
    arguments.add_argument("--restart-interval", type=float, default=20, help="seconds, on average")
    arguments.add_argument("--check-interval", type=float, default=30, help="seconds between full checks")
    arguments.add_argument("--admin-interval", type=float, default=4, help="seconds between flushes, compactions, deletes")
    arguments.add_argument("--sample-interval", type=float, default=2, help="seconds")
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    given.out = given.out.resolve()
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    binary, log = given.binary.resolve(), given.out / "soak-server.log"
    log.write_text("")
    # So that the server is stopped and its data removed then, too.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
    settings = {f"LOGMILL_{name}": str(value) for name, value in SETTINGS.items()}
    note(f"{version}, {given.seconds} s, {given.rate} MB/s, seed {given.seed}")
    with Server(binary, given.work.resolve(), log, settings) as server:
        soak = Soak(given, server)
        try:
            soak.run()
        except Failed as failure:
            soak.fault(str(failure))
        soak.stop.set()
        report(soak, given, version)
    for entry in soak.faults:
        note(f"fault at {entry['t']:.0f} s: {entry['fault']}")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
