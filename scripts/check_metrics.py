"""Whether every metric that the dashboard and the alerts ask for exists: `python3 scripts/check_metrics.py`.

Names are read from the string literals of the crates. A histogram is asked for by its _bucket, _sum or _count, and only a
histogram is. Labels and values of `{…}` are not looked at.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DASHBOARD = ROOT / "deploy/grafana/logmill.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
# Those of the crate metrics-process on Linux.
PROCESS = {
    f"process_{name}"
    for name in (
        "cpu_seconds_total max_fds open_fds resident_memory_bytes start_time_seconds threads virtual_memory_bytes "
        "virtual_memory_max_bytes"
    ).split()
}
NAME = re.compile(r"\b(?:logmill|process)_[a-z0-9_]+\b")


def metrics_of(crates):
    """(all names, those of histograms)."""
    every, histograms = set(), set()
    for path in crates.glob("*/src/**/*.rs"):
        source = path.read_text()
        every.update(re.findall(r'"(logmill_[a-z0-9_]+)"', source))
        histograms.update(re.findall(r'histogram!\(\s*"(logmill_[a-z0-9_]+)"', source))
    return every | PROCESS, histograms


def texts(value):
    """Every string in a JSON document that may be an expression."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("expr", "query", "definition") and isinstance(inner, str):
                yield inner
            else:
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def names_in(expression):
    """Names of metrics; a word inside quotes is a label's value."""
    return set(NAME.findall(re.sub(r'"[^"]*"', '""', expression)))


def problems(asked, every, histograms):
    for name in sorted(asked):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        if name in histograms:
            yield f"{name} is a histogram: its _bucket, _sum or _count is meant"
        elif name not in every and base not in histograms:
            yield f"{name} does not exist"


def main(crates=ROOT / "crates"):
    every, histograms = metrics_of(Path(crates))
    if not histograms:
        sys.exit(f"no metrics were found in {crates}")
    # YAML is read as text, so that no package is needed: names in comments have to exist as well.
    alerts = ALERTS.read_text()
    asked = {
        DASHBOARD.name: set().union(*map(names_in, texts(json.loads(DASHBOARD.read_text())))),
        ALERTS.name: names_in(alerts),
    }
    found = [f"{file}: {problem}" for file, names in asked.items() for problem in problems(names, every, histograms)]
    if not all(asked.values()):
        found.append("a file asks for no metric at all")
    if found:
        sys.exit("\n".join(found))
    print(f"the {len(set().union(*asked.values()))} metrics of dashboard and alerts exist")


if __name__ == "__main__":
    main(*sys.argv[1:])
