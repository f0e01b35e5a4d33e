#!/usr/bin/env python3
"""What many processes carry on one machine, and what a core of each role does.

Starts the topology of scripts/stack.sh with a folder for objects, sends a file to every api process at once, flushes, and
takes the processor time of each process from /proc. Then the same records to one process that has its data to itself.

    scripts/bench_fleet.py --binary PROGRAM --file corpus.ndjson [--out bench-out/fleet.json]
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
ROOT = pathlib.Path(__file__).resolve().parent.parent


def stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of its children, those that have ended among them."""
    fields = stat(pid)
    seconds = sum(int(field) for field in fields[11:15]) / TICKS
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(stat(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                seconds += cpu_seconds(int(entry.name))
    return seconds


def load(binary: str, url: str, file: str, connections: int) -> subprocess.Popen:
    command = [binary, "load-test", "--url", url, "--file", file, "--connections", str(connections)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def post(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, method="POST", data=b""), timeout=300).read()


def count(url: str) -> int:
    body = json.dumps({"query": "SELECT count(*) FROM logs"}).encode()
    request = urllib.request.Request(f"{url}/sql", data=body, headers={"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=300))["rows"][0][0]


def measure(processes: dict[str, int], urls: list[str], flush_url: str, arguments) -> dict:
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    begun = time.monotonic()
    clients = [load(arguments.binary, url, arguments.file, arguments.connections) for url in urls]
    if any(client.wait() != 0 for client in clients):
        raise SystemExit("a client failed")
    sent = time.monotonic() - begun
    post(f"{flush_url}/admin/flush")
    flushed = time.monotonic() - begun
    megabytes = len(urls) * os.path.getsize(arguments.file) / 1e6
    spent = {name: cpu_seconds(pid) - before[name] for name, pid in processes.items()}
    roles: dict[str, float] = {}
    for name, seconds in spent.items():
        role = name.rstrip("0123456789-")
        roles[role] = roles.get(role, 0.0) + seconds
    return {
        "megabytes": round(megabytes, 1),
        "mb_per_s": round(megabytes / sent, 1),
        "seconds_until_flushed": round(flushed, 2),
        "mb_per_cpu_s": round(megabytes / sum(spent.values()), 1),
        "cpu_s": {role: round(seconds, 2) for role, seconds in sorted(roles.items())},
        "mb_per_cpu_s_of_role": {role: round(megabytes / seconds, 1) for role, seconds in roles.items() if seconds > 0},
    }


def fleet(arguments, folder: pathlib.Path) -> dict:
    environment = {
        **os.environ,
        "BINARY": arguments.binary,
        "DIR": str(folder / "stack"),
        "OBJECTS": "folder",
        "PORT_BASE": "free",
        "API": str(arguments.api),
        "WORKER": str(arguments.worker),
        "QUERY": str(arguments.query),
    }
    stack = str(ROOT / "scripts/stack.sh")
    subprocess.run([stack, "up"], env=environment, check=True, stdout=subprocess.DEVNULL)
    try:
        known = {}
        for line in (folder / "stack/stack.env").read_text().splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            known[name] = value.strip("'\"")
        pids = {path.stem: int(path.read_text().split()[0]) for path in (folder / "stack").glob("*.pid")}
        urls = known["API_URLS"].split()
        measured = measure(pids, urls, urls[0], arguments)
        if arguments.query:
            query = known["QUERY_URLS"].split()[0]
            while (found := count(query)) < arguments.lines * len(urls):
                time.sleep(0.1)
            measured["records"] = found
        return measured
    finally:
        subprocess.run([stack, "down"], env=environment, check=True, stdout=subprocess.DEVNULL)


def embedded(arguments, folder: pathlib.Path) -> dict:
    command = [arguments.binary, "serve", "--data-dir", str(folder / "data"), "--listen", "127.0.0.1:7398"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = "http://127.0.0.1:7398"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health/ready", timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        # As many clients as the fleet has, all at one process.
        return measure({"all": server.pid}, [url] * arguments.api, url, arguments)
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--file", required=True)
    parser.add_argument("--api", type=int, default=2)
    parser.add_argument("--worker", type=int, default=2)
    parser.add_argument("--query", type=int, default=1)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--out", default="bench-out/fleet.json")
    arguments = parser.parse_args()
    with open(arguments.file, "rb") as file:
        arguments.lines = sum(1 for _ in file)
    report = {}
    for name, run in (("fleet", fleet), ("one process", embedded)):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="logmill-bench-", dir=disk_folder()))
        # Postgres runs as another user when root runs this.
        folder.chmod(0o755)
        try:
            report[name] = run(arguments, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(name, json.dumps(report[name], indent=2))
    pathlib.Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(arguments.out).write_text(json.dumps(report, indent=2) + "\n")


def disk_folder() -> str:
    """On a disk, not in memory."""
    folder = ROOT / "bench-out"
    folder.mkdir(exist_ok=True)
    return str(folder)


if __name__ == "__main__":
    main()
