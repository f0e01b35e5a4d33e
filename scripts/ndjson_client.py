#!/usr/bin/env python3
"""Posts a file of NDJSON to any URL over keep-alive connections, closed loop, and reports what it took.

`logmill load-test` does this for Logmill; this client is for servers that take records elsewhere. It needs
nothing but Python: bodies are slices of the mapped file.
"""

import argparse
import http.client
import json
import mmap
import threading
import time
import urllib.parse


def batches(mapped, batch_bytes):
    """Slices of about that length that end where a line ends."""
    start = 0
    while start < len(mapped):
        end = min(start + batch_bytes, len(mapped))
        if end < len(mapped):
            cut = mapped.rfind(b"\n", start, end)
            if cut < 0:  # a line longer than a batch
                cut = mapped.find(b"\n", end)
            end = len(mapped) if cut < 0 else cut + 1
        yield mapped[start:end]
        start = end


def quantile(ordered, share):
    """The value below which that share of the ordered values lies."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def send(url, path, connections=2, batch_bytes=1_000_000):
    """Posts the file; `bytes`, `elapsed_seconds`, `megabytes_per_second`, `latency_ms`. Raises when a batch is refused."""
    target = urllib.parse.urlsplit(url)
    where = (target.path or "/") + ("?" + target.query if target.query else "")
    lock, latencies, failures = threading.Lock(), [], []
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        source = batches(mapped, batch_bytes)

        def work():
            connection = http.client.HTTPConnection(target.hostname, target.port or 80, timeout=300)
            try:
                while not failures:
                    with lock:
                        body = next(source, None)
                    if body is None:
                        return
                    begun = time.perf_counter()
                    # Servers in Go read a body without this header as a form, and store nothing.
                    connection.request("POST", where, body, {"Content-Type": "application/x-ndjson"})
                    answer = connection.getresponse()
                    text = answer.read()
                    if answer.status >= 300:
                        raise RuntimeError(f"{url} answered {answer.status}: {text[:200]!r}")
                    latencies.append((time.perf_counter() - begun) * 1e3)
            except Exception as error:  # reported by the thread that waits
                failures.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(connections)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed, size = time.perf_counter() - begun, len(mapped)
        if failures:
            raise RuntimeError(str(failures[0])) from failures[0]
    latencies.sort()
    return {
        "bytes": size,
        "batches": len(latencies),
        "elapsed_seconds": elapsed,
        "megabytes_per_second": size / 1e6 / elapsed,
        "latency_ms": {"p50": quantile(latencies, 0.5), "p99": quantile(latencies, 0.99), "max": latencies[-1]},
    }


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("url")
    arguments.add_argument("file")
    arguments.add_argument("--connections", type=int, default=2)
    arguments.add_argument("--batch-bytes", type=int, default=1_000_000)
    given = arguments.parse_args()
    print(json.dumps(send(given.url, given.file, given.connections, given.batch_bytes), indent=2))
