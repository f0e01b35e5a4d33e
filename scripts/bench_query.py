#!/usr/bin/env python3
"""Asks thirteen questions of a Logmill that has the benchmark's corpus, and of peers beside it: see bench.sh, which calls it,
and docs/benchmarks.md.

Every question is asked over HTTP by one keep-alive connection, of each system in turn, so that what disturbs the machine disturbs
all of them; ClickHouse (chDB, in a process of its own) is asked inside its process. Answers that are numbers have to be the same.
"""

import argparse
import contextlib
import http.client
import json
import mmap
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import ndjson_client
from bench import Bench, compacted
from server_process import Failed, http_call

RUNS = 15
MINUTE_MS = 60_000


def note(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Question:
    """One question in each system's words. `number`: the answer is one number, the same everywhere."""

    def __init__(self, number, name, goal_ms, logmill, logsql, sql, exact=False):
        self.number, self.name, self.goal_ms = number, name, goal_ms
        self.logmill, self.logsql, self.sql, self.exact = logmill, logsql, sql, exact


def questions(corpus):
    """The thirteen; what they look for is taken from the corpus."""

    def sql(text):
        return "/sql", {"query": text}

    everything = {"from": corpus["first"], "to": corpus["end"]}
    five_minutes = {"from": corpus["middle"], "to": corpus["middle_5m"]}
    trace, needle = corpus["trace_id"], corpus["needle"]
    span = f"_time:[{corpus['middle']}, {corpus['middle_5m']})"
    clickhouse_span = (
        f"timestamp >= parseDateTime64BestEffort('{corpus['middle']}', 6) AND "
        f"timestamp < parseDateTime64BestEffort('{corpus['middle_5m']}', 6)"
    )
    return [
        Question(1, "count of all", 1, sql("SELECT count(*) FROM logs"), "* | stats count() n", "SELECT count() FROM logs", True),
        Question(
            2, "count by hour and level", 3,
            sql("SELECT date_bin(INTERVAL '1 hour', timestamp) AS hour, level, count(*) AS n FROM logs GROUP BY 1, 2"),
            "* | stats by (_time:1h, level) count() n",
            "SELECT toStartOfHour(timestamp) AS hour, level, count() FROM logs GROUP BY hour, level",
        ),
        Question(
            3, "errors by service", 3,
            sql("SELECT service, count(*) AS n FROM logs WHERE level = 'error' GROUP BY service"),
            "level:=error | stats by (service) count() n",
            "SELECT service, count() FROM logs WHERE level = 'error' GROUP BY service",
        ),
        Question(
            4, 'count of the phrase "Received block"', 8,
            sql("SELECT count(*) FROM logs WHERE has_phrase(message, 'Received block')"),
            '"Received block" | stats count() n',
            "SELECT count() FROM logs WHERE message LIKE '%Received block%'", True,
        ),
        Question(
            5, 'count of a word or a phrase (timeout, "connection refused")', 15,
            sql("SELECT count(*) FROM logs WHERE has_token(message, 'timeout') OR has_phrase(message, 'connection refused')"),
            '(i(timeout) or i("connection refused")) | stats count() n',
            "SELECT count() FROM logs WHERE hasTokenCaseInsensitive(message, 'timeout')"
            " OR (hasTokenCaseInsensitive(message, 'connection') AND hasTokenCaseInsensitive(message, 'refused')"
            " AND match(message, '(?i)\\\\bconnection\\\\W+refused\\\\b'))",
        ),
        Question(
            6, "count by regex blk_[0-9]+5", 20,
            sql("SELECT count(*) FROM logs WHERE regexp_like(message, 'blk_[0-9]+5 ')"),
            '~"blk_[0-9]+5 " | stats count() n',
            "SELECT count() FROM logs WHERE match(message, 'blk_[0-9]+5 ')", True,
        ),
        Question(
            7, "top 10 of http.path", 50,
            sql('SELECT "http.path", count(*) AS n FROM logs WHERE "http.path" IS NOT NULL GROUP BY 1 ORDER BY n DESC LIMIT 10'),
            "http.path:* | top 10 by (http.path)",
            "SELECT http.path AS path, count() AS n FROM logs WHERE http.path != '' GROUP BY path ORDER BY n DESC LIMIT 10",
        ),
        Question(
            8, "p99 of http.duration_ms where status >= 500", 10,
            sql('SELECT approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY "http.duration_ms") FROM logs WHERE "http.status" >= 500'),
            "http.status:>=500 | stats quantile(0.99, http.duration_ms) p99",
            "SELECT quantile(0.99)(http.duration_ms) FROM logs WHERE http.status >= 500",
        ),
        Question(
            9, "count distinct trace_id", 120,
            sql("SELECT count(DISTINCT trace_id) FROM logs"),
            "trace_id:* | stats count_uniq(trace_id) n",
            "SELECT uniqExact(trace_id) FROM logs WHERE trace_id != ''", True,
        ),
        Question(
            10, "latest 100 of everything", 5,
            ("/query", everything | {"limit": 100}),
            "* | sort by (_time) desc limit 100",
            "SELECT * FROM logs ORDER BY timestamp DESC LIMIT 100",
        ),
        Question(
            11, "one trace_id", 2,
            ("/query", everything | {"filters": {"trace_id": trace}}),
            f'trace_id:="{trace}" | sort by (_time) desc limit 100',
            f"SELECT * FROM logs WHERE trace_id = '{trace}' ORDER BY timestamp DESC LIMIT 100",
        ),
        Question(
            12, "one rare word in message", 2,
            ("/query", everything | {"text": needle}),
            f'"{needle}" | sort by (_time) desc limit 100',
            f"SELECT * FROM logs WHERE hasToken(message, '{needle.rpartition('-')[2]}') ORDER BY timestamp DESC LIMIT 100",
        ),
        Question(
            13, "5 minutes of one service with a phrase, latest 100", 4,
            ("/query", five_minutes | {"text": '"Received block"', "filters": {"service": "hdfs"}, "limit": 100}),
            f'{span} service:=hdfs "Received block" | sort by (_time) desc limit 100',
            f"SELECT * FROM logs WHERE {clickhouse_span} AND service = 'hdfs' AND message LIKE '%Received block%'"
            " ORDER BY timestamp DESC LIMIT 100",
        ),
    ]


def look_into(file):
    """What the questions look for: the corpus' first and last minute, a trace_id and a rare word from its middle."""
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        def line(at):
            start = text.rfind(b"\n", 0, at) + 1
            return json.loads(text[start : text.find(b"\n", start)])

        middle = text.size() // 2
        trace = re.compile(rb'"trace_id":"([0-9a-f]{32})"').search(text, middle)
        needle = re.compile(rb"needle-[0-9a-f]{8}").search(text, middle)
        if not trace or not needle:
            raise Failed("the file has no trace_id or no needle-… in its second half: it is not the benchmark's corpus")
        first, last = line(0)["timestamp"], line(text.size() - 2)["timestamp"]
        minute = line(middle)["timestamp"][:16]
        hour, minutes = minute[:14], int(minute[14:16])
        minutes = min(minutes, 54)
        return {
            "first": first, "end": last[:-1] + "9Z", "trace_id": trace[1].decode(), "needle": needle[0].decode(),
            "middle": f"{hour}{minutes:02}:00Z", "middle_5m": f"{hour}{minutes + 5:02}:00Z",
            "bytes": text.size(),
        }


class Http:
    """One keep-alive connection."""

    def __init__(self, url):
        target = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(target.hostname, target.port or 80, timeout=600)

    def ask(self, path, body, content_type, method="POST"):
        """(milliseconds, body)."""
        begun = time.perf_counter()
        self.connection.request(method, path, body, {"Content-Type": content_type})
        answer = self.connection.getresponse()
        read = answer.read()
        elapsed = (time.perf_counter() - begun) * 1e3
        if answer.status != 200:
            raise Failed(f"{path} answered {answer.status}: {read[:300]!r}")
        return elapsed, read


class Logmill:
    name = "Logmill"

    def __init__(self, url):
        self.http = Http(url)

    def ask(self, question):
        path, body = question.logmill
        elapsed, read = self.http.ask(path, json.dumps(body), "application/json")
        answer = json.loads(read)
        stats = answer["stats"]
        rows = answer.get("rows", answer.get("records"))
        figures = {"engine_ms": stats["elapsed_ms"], "granules_read": stats["granules_read"], "bytes_scanned": stats["bytes_scanned"]}
        return elapsed, rows, figures


class VictoriaLogs:
    name = "VictoriaLogs"
    INSERT = "/insert/jsonline?_stream_fields=service,host&_time_field=timestamp&_msg_field=message"

    def __init__(self, url):
        self.url, self.http = url.rstrip("/"), Http(url)

    def load(self, file, records):
        if self.count() == records:
            return
        ndjson_client.send(self.url + self.INSERT, file)
        for _wait in range(60):
            if self.count() == records:
                time.sleep(15)  # it merges in the background
                return
            time.sleep(1)
        raise Failed(f"VictoriaLogs has {self.count()} records, not {records}: give it an empty data folder")

    def count(self):
        _, read = self.http.ask("/select/logsql/query", urllib.parse.urlencode({"query": "* | stats count() n"}), FORM)
        return int(json.loads(read)["n"])

    def ask(self, question):
        elapsed, read = self.http.ask("/select/logsql/query", urllib.parse.urlencode({"query": question.logsql}), FORM)
        return elapsed, [list(json.loads(line).values()) for line in read.splitlines()], {}


FORM = "application/x-www-form-urlencoded"

# Runs in the peer's own Python: statements in, answers and times out, a JSON a line.
CHDB = """
import json, sys, time
from chdb import session
asked = session.Session(sys.argv[1])
for line in sys.stdin:
    begun = time.perf_counter()
    try:
        answer = str(asked.query(json.loads(line), "JSONCompact"))
        elapsed = (time.perf_counter() - begun) * 1e3
        print(json.dumps({"ms": elapsed, "rows": json.loads(answer)["data"] if answer.strip() else []}), flush=True)
    except Exception as error:
        print(json.dumps({"error": str(error)[:2000]}), flush=True)
"""

CLICKHOUSE_TABLE = """
CREATE TABLE logs (
  timestamp DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)), level LowCardinality(String), service LowCardinality(String),
  host LowCardinality(String), logger LowCardinality(String), message String CODEC(ZSTD(1)), trace_id String CODEC(ZSTD(1)),
  http Tuple(method LowCardinality(String), status UInt16, duration_ms Float64, path String),
  INDEX words message TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 1,
  INDEX traces trace_id TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = MergeTree ORDER BY (service, logger, timestamp)"""


class ClickHouse(contextlib.AbstractContextManager):
    name = "ClickHouse"

    def __init__(self, python, folder):
        shutil.rmtree(folder, ignore_errors=True)
        command = [python, "-c", CHDB, str(folder)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def statement(self, text):
        self.child.stdin.write(json.dumps(text) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise Failed("chDB ended")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"chDB: {answer['error']}")
        return answer["ms"], answer["rows"]

    def load(self, file, records):
        self.statement("CREATE DATABASE IF NOT EXISTS bench ENGINE = Atomic")
        self.statement("USE bench")
        self.statement(CLICKHOUSE_TABLE)
        self.statement(
            f"INSERT INTO logs SELECT * FROM file('{file}', 'JSONEachRow', 'timestamp DateTime64(6, \\'UTC\\'), level String,"
            " service String, host String, logger String, message String, trace_id String,"
            " http Tuple(method String, status UInt16, duration_ms Float64, path String)')"
            " SETTINGS date_time_input_format = 'best_effort'"
        )
        self.statement("OPTIMIZE TABLE logs FINAL")
        rows = int(self.statement("SELECT count() FROM logs")[1][0][0])
        if rows != records:
            raise Failed(f"ClickHouse has {rows} of {records} records")

    def ask(self, question):
        elapsed, rows = self.statement(question.sql)
        return elapsed, rows, {}

    def __exit__(self, *_reason):
        self.child.stdin.close()
        self.child.wait(60)


def single(rows):
    """The one number of an answer."""
    return float(rows[0][0] if isinstance(rows[0], list) else next(iter(rows[0].values())))


def measure(systems, question, runs):
    """Every system's times, in turn; after one time each that does not count."""
    times, figures, numbers = {}, {}, {}
    for run in range(runs + 1):
        for system in systems:
            elapsed, rows, more = system.ask(question)
            if run == 0:
                numbers[system.name] = single(rows) if question.exact else len(rows)
                continue
            times.setdefault(system.name, []).append(elapsed)
            for name, value in more.items():
                figures.setdefault(name, []).append(value)
    if question.exact and len(set(numbers.values())) > 1:
        raise Failed(f"question {question.number} has different answers: {numbers}")
    systems_of = {
        name: {"min_ms": min(values), "median_ms": statistics.median(values), "answer": numbers[name]}
        for name, values in times.items()
    }
    systems_of["Logmill"] |= {
        "engine_min_ms": min(figures["engine_ms"]),
        "engine_median_ms": statistics.median(figures["engine_ms"]),
        "granules_read": figures["granules_read"][-1],
        "bytes_scanned": figures["bytes_scanned"][-1],
    }
    return {"number": question.number, "name": question.name, "goal_ms": question.goal_ms, "systems": systems_of}


def print_table(results, names):
    peers = [name for name in names if name != "Logmill"]
    head = ["#", "question", "goal", "ms", "engine", "granules", "MB read"]
    head += [word for peer in peers for word in (peer, "x faster")]
    rows = []
    for result in results:
        ours = result["systems"]["Logmill"]
        row = [
            str(result["number"]), result["name"], f"{result['goal_ms']}",
            f"{ours['min_ms']:.2f}" + ("" if ours["min_ms"] <= result["goal_ms"] else " !"), f"{ours['engine_min_ms']:.2f}",
            str(ours["granules_read"]), f"{ours['bytes_scanned'] / 1e6:.2f}",
        ]
        for peer in peers:
            theirs = result["systems"][peer]["min_ms"]
            # ClickHouse is in its own process, with no HTTP: our engine's time is what compares.
            mine = ours["engine_min_ms"] if peer == "ClickHouse" else ours["min_ms"]
            row += [f"{theirs:.2f}", f"{theirs / max(mine, 1e-3):.1f}"]
        rows.append(row)
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    for row in [head, *rows]:
        cells = [cell.ljust(width) if at == 1 else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--url", help="a server that has the file already, instead of one of its own")
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("parts", nargs="*", help="numbers of questions; all without them")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.file.resolve()
    corpus = look_into(file)
    bench = Bench(given.binary and given.binary.resolve(), file, given.work.resolve(), given.out.resolve())
    with contextlib.ExitStack() as stack:
        url = given.url
        if not url:
            server = stack.enter_context(bench.server("query"))
            note("loading Logmill")
            bench.load(server, "--connections", "2", "--flush")
            compacted(server)
            url = server.url
        _, read = Http(url).ask("/sql", json.dumps({"query": "SELECT count(*) FROM logs"}), "application/json")
        records = json.loads(read)["rows"][0][0]
        systems = []
        if peer := os.environ.get("PEER_VICTORIALOGS_URL"):
            note("loading VictoriaLogs")
            systems.append(VictoriaLogs(peer))
            systems[-1].load(file, records)
        if peer := os.environ.get("PEER_CHDB_PYTHON"):
            note("loading ClickHouse")
            systems.append(stack.enter_context(ClickHouse(peer, bench.work / "clickhouse")))
            systems[-1].load(file, records)
        # Now: a connection that nothing is asked on while peers are loaded would be closed.
        systems.insert(0, Logmill(url))
        results = []
        for question in questions(corpus):
            if given.parts and str(question.number) not in given.parts:
                continue
            note(f"{question.number} of 13: {question.name}")
            results.append(measure(systems, question, given.runs))
        print_table(results, [system.name for system in systems])
        report = {"records": records, "bytes": corpus["bytes"], "runs": given.runs, "questions": results}
        (bench.out / "bench-query.json").write_text(json.dumps(report, indent=2) + "\n")
        note(f"written: {bench.out / 'bench-query.json'}")


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, http.client.HTTPException) as failure:
        sys.exit(f"bench: {failure}")
