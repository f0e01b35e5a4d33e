"""The soak's samples as a table, as a verdict on growth, and as a plot (SVG, written without a library)."""

import statistics

# A figure grows without bound when the median of the last quarter of its samples is beyond this share of the second
# quarter's, and by more than what is said beside each figure: a count of 2 that becomes 3 is no leak.
GROWTH_MAX = 1.3
# Below so many samples a quarter says nothing.
GROWTH_SAMPLES_MIN = 40


class Figure:
    """What is sampled: series of one panel, with their names, unit and colour."""

    def __init__(self, title, unit, *series, slack=None):
        """`slack`: growth that is allowed in any case; None where growth is right."""
        self.title, self.unit, self.series, self.slack = title, unit, series, slack


FIGURES = [
    Figure("Resident memory", "MB", ("rss_mb", "resident"), slack=32),
    Figure("Open files", "files", ("open_files", "open files"), slack=24),
    Figure("Segments and objects", "files", ("segments", "segments"), ("object_files", "objects on disk"), slack=24),
    Figure("Write-ahead log", "MB", ("wal_mb", "log"), slack=16),
    Figure("Data directory", "MB", ("disk_mb", "all"), ("bounded_mb", "tenant with a bound")),
    Figure("Segments waiting to be merged", "segments", ("debt", "waiting"), slack=8),
    Figure("Acknowledged", "MB/s", ("ingest_mb_per_s", "ingest")),
    Figure("Query time", "ms", ("query_p50_ms", "p50"), ("query_p99_ms", "p99")),
]
SERIES = ["#1f5fa8", "#d9822b"]
RESTARTS = {"kill -9": "#c23030", "SIGTERM": "#7b8794"}


def values(samples, name):
    return [sample[name] for sample in samples if sample.get(name) is not None]


def growth_faults(samples):
    """Figures that grow without bound, in words; None when there are too few samples to tell."""
    if len(samples) < GROWTH_SAMPLES_MIN:
        return None
    quarter, faults = len(samples) // 4, []
    for figure in FIGURES:
        for name, title in figure.series:
            early, late = values(samples[quarter : 2 * quarter], name), values(samples[-quarter:], name)
            if figure.slack is None or not early or not late:
                continue
            before, after = statistics.median(early), statistics.median(late)
            if after > before * GROWTH_MAX and after > before + figure.slack:
                faults.append(f"{figure.title} ({title}) grows: {before:.4g} {figure.unit}, later {after:.4g}")
    return faults


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(samples, restarts):
    """Rows of a figure's median in the second and the last quarter, its highest value, and restarts."""
    quarter = max(len(samples) // 4, 1)
    rows = [("", "2nd quarter", "last quarter", "highest")]
    for figure in FIGURES:
        for name, title in figure.series:
            all_values = values(samples, name)
            if not all_values:
                continue
            cells = [values(part, name) for part in (samples[quarter : 2 * quarter], samples[-quarter:])]
            medians = [number(statistics.median(cell)) if cell else "-" for cell in cells]
            rows.append((f"{figure.title} ({title}), {figure.unit}", *medians, number(max(all_values))))
    for kind in RESTARTS:
        ready = sorted(restart["ready_s"] * 1e3 for restart in restarts if restart["kind"] == kind)
        if ready:
            rows.append((f"{len(ready)} starts after {kind}: median, highest, ms", number(statistics.median(ready)), "", number(ready[-1])))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in rows
    )


def nice_ceiling(value):
    """The next of 1, 2, 2.5, 5 times a power of ten, so that ticks are round."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(str(int(value))) - 1 if value >= 1 else -3)
    return next(power * step for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 100, 1000, 10000) if power * step >= value)


class Plot:
    """Panels in two columns, all over the same time."""

    PANEL_W, PANEL_H, GAP_X, GAP_Y, LEFT, TOP = 440, 150, 70, 66, 64, 86

    def __init__(self, title, subtitle, seconds, restarts):
        self.seconds, self.restarts, self.panels, self.parts = seconds, restarts, 0, []
        self.in_minutes = seconds >= 600
        self.title, self.subtitle = title, subtitle

    def text(self, x, y, content, size=11, anchor="start", colour="#52606d", extra=""):
        content = content.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" {extra}>{content}</text>'
        )

    def line(self, x1, y1, x2, y2, colour, width=1.0, extra=""):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}" {extra}/>'
        )

    def origin(self, index):
        column, row = index % 2, index // 2
        return self.LEFT + column * (self.PANEL_W + self.GAP_X), self.TOP + row * (self.PANEL_H + self.GAP_Y)

    def axes(self, title, unit, highest):
        left, top = self.origin(self.panels)
        self.panels += 1
        ceiling, bottom = nice_ceiling(highest), top + self.PANEL_H

        def place(t, value):
            return left + self.PANEL_W * t / self.seconds, bottom - self.PANEL_H * min(value / ceiling, 1)

        self.text(left, top - 10, title, 13, colour="#1f2933", extra='font-weight="600"')
        for step in range(5):
            y = place(0, ceiling * step / 4)[1]
            self.line(left, y, left + self.PANEL_W, y, "#e4e7eb" if step else "#9aa5b1")
            self.text(left - 7, y + 4, number(ceiling * step / 4), 10, "end")
        for step in range(5):
            t = self.seconds * step / 4
            x = place(t, 0)[0]
            self.line(x, bottom, x, bottom + 4, "#9aa5b1")
            self.text(x, bottom + 16, number(t / 60 if self.in_minutes else t), 10, "middle")
        middle = top + self.PANEL_H / 2
        self.text(left - 46, middle, unit, 11, "middle", extra=f'transform="rotate(-90 {left - 46} {middle})"')
        self.text(left + self.PANEL_W, bottom + 30, "time, min" if self.in_minutes else "time, s", 10, "end")
        return place

    def mark_restarts(self, place):
        # Many of them are a haze, which is right; few are lines.
        opacity = max(0.12, min(0.6, 8 / max(len(self.restarts), 1)))
        for restart in self.restarts:
            x, y = place(restart["t"], 0)
            self.line(x, y, x, y - self.PANEL_H, RESTARTS[restart["kind"]], 1, f'opacity="{opacity:.2f}"')

    def figure(self, figure, samples):
        highest = max((max(values(samples, name), default=0) for name, _ in figure.series), default=0)
        place = self.axes(figure.title, figure.unit, highest)
        self.mark_restarts(place)
        left, top = self.origin(self.panels - 1)
        for index, (name, title) in enumerate(figure.series):
            points = [place(s["t"], s[name]) for s in samples if s.get(name) is not None]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            self.parts.append(f'<polyline points="{path}" fill="none" stroke="{SERIES[index]}" stroke-width="1.6"/>')
            if len(figure.series) > 1:
                self.text(left + self.PANEL_W - 130 * (len(figure.series) - 1 - index), top - 10, title, 11, "end", SERIES[index])

    def starts(self):
        place = self.axes("Time to start", "ms", max((r["ready_s"] * 1e3 for r in self.restarts), default=0))
        left, top = self.origin(self.panels - 1)
        for index, (kind, colour) in enumerate(RESTARTS.items()):
            self.text(left + self.PANEL_W - 100 * (1 - index), top - 10, f"after {kind}", 11, "end", colour)
        for restart in self.restarts:
            x, y = place(restart["t"], restart["ready_s"] * 1e3)
            self.line(x, place(0, 0)[1], x, y, RESTARTS[restart["kind"]], 1.2, 'opacity="0.5"')
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{RESTARTS[restart["kind"]]}"/>')

    def svg(self):
        rows = (self.panels + 1) // 2
        width = self.LEFT + 2 * self.PANEL_W + self.GAP_X + 30
        height = self.TOP + rows * (self.PANEL_H + self.GAP_Y)
        self.text(self.LEFT, 30, self.title, 18, colour="#1f2933", extra='font-weight="600"')
        self.text(self.LEFT, 50, self.subtitle, 12)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'font-family="system-ui, sans-serif"><rect width="{width}" height="{height}" fill="#ffffff"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )


def plot(title, subtitle, seconds, samples, restarts):
    """The SVG document."""
    drawn = Plot(title, subtitle, max(seconds, 1), restarts)
    for figure in FIGURES:
        drawn.figure(figure, samples)
    drawn.starts()
    return drawn.svg()
