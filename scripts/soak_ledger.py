"""What the soak sent, and what of it must, may and must not be found.

A tenant's batches are numbered without gaps. Line `l` of batch `b` has the timestamp `base[b] + l` microseconds
(bases rise with the number and are further apart than a batch is long), so a range of batches is a range of time;
every LATE_EVERY-th line is a day older than that, in a range of its own.
"""

import threading
import time

LINES_MAX = 248
LATE_EVERY = 50
LATE_US = 86_400_000_000
# Batches that a delete takes together.
LOT_BATCHES = 20
# Line numbers are collected as bits of integers of so many bits: exact, whatever their order.
PART_BITS = 62

PENDING, ACKNOWLEDGED, GIVEN_UP = "pending", "acknowledged", "given up"


def is_late(line):
    return line % LATE_EVERY == LATE_EVERY - 1


def on_time(lines):
    """How many of the first lines of a batch are not late."""
    return lines - lines // LATE_EVERY


class Batch:
    __slots__ = ("number", "base_us", "lines", "state")

    def __init__(self, number, base_us, lines):
        self.number, self.base_us, self.lines, self.state = number, base_us, lines, PENDING


class Ledger:
    """A tenant's batches. Safe to use from several threads."""

    def __init__(self, tenant, retained=True):
        """`retained`: nothing but a delete removes records of this tenant."""
        self.tenant, self.retained = tenant, retained
        self.batches, self.lots_deleting, self.lots_deleted = [], set(), set()
        self.lock = threading.Lock()

    def open(self, lines):
        """The next batch."""
        with self.lock:
            base_us = time.time_ns() // 1000
            if self.batches:
                base_us = max(base_us, self.batches[-1].base_us + LINES_MAX)
            batch = Batch(len(self.batches), base_us, lines)
            self.batches.append(batch)
            return batch

    def close(self, batch, state):
        with self.lock:
            batch.state = state

    def acknowledged_records(self):
        with self.lock:
            return sum(batch.lines for batch in self.batches if batch.state is ACKNOWLEDGED)

    def acknowledged_batch(self, random):
        """Any acknowledged one that no delete touches; None when there is none."""
        with self.lock:
            for _ in range(20 if self.batches else 0):
                batch = random.choice(self.batches)
                lot = batch.number // LOT_BATCHES
                if batch.state is ACKNOWLEDGED and lot not in self.lots_deleting:
                    return batch
        return None

    def closed_range(self, random):
        """`(from_us, to_us, records)`: a range of time whose records on time are all acknowledged, and their number."""
        with self.lock:
            end = next((b.number for b in self.batches if b.state is not ACKNOWLEDGED), len(self.batches))
            if end == 0:
                return None
            # As often near the end, where records are in memory, as anywhere.
            start = random.randrange(end) if random.random() < 0.5 else random.randrange(max(end - 50, 0), end)
            stop = end if random.random() < 0.5 else random.randint(start + 1, end)
            chosen = self.batches[start:stop]
            return chosen[0].base_us, chosen[-1].base_us + LINES_MAX, sum(on_time(b.lines) for b in chosen)

    def closed_lot(self, random):
        """A lot whose batches are all acknowledged, marked as being deleted; None when there is none."""
        with self.lock:
            lots = [
                lot
                for lot in range(len(self.batches) // LOT_BATCHES)
                if lot not in self.lots_deleting
                and all(b.state is ACKNOWLEDGED for b in self.batches[lot * LOT_BATCHES : (lot + 1) * LOT_BATCHES])
            ]
            if not lots:
                return None
            lot = random.choice(lots)
            self.lots_deleting.add(lot)
            return lot

    def deleted(self, lot):
        with self.lock:
            self.lots_deleted.add(lot)

    def expectation(self):
        """What must hold of an answer to a question that is asked after this call."""
        with self.lock:
            states = [batch.state for batch in self.batches]
            return states, set(self.lots_deleted)

    def faults(self, expectation, found):
        """What is wrong with `found`: {batch: [records, {part: bits}]}, asked for after `expectation` was taken."""
        states, deleted = expectation
        with self.lock:
            lines_of = [batch.lines for batch in self.batches]
            deleting = set(self.lots_deleting)
        faults = []

        def fault(number, text):
            faults.append(f"tenant {self.tenant}, batch {number}: {text}")

        for number, (records, bits) in found.items():
            if number >= len(lines_of):
                fault(number, "found, but never sent")
                continue
            lines = sum(value.bit_count() for value in bits.values())
            if records != lines:
                fault(number, f"{records} records, but only {lines} different ones: some are doubled")
            sent = lines_of[number]
            if any(value >> max(0, min(PART_BITS, sent - part * PART_BITS)) for part, value in bits.items()):
                fault(number, "has lines that were never sent")
            if self.retained and lines != sent:
                fault(number, f"{lines} of {sent} lines: a batch is there whole or not at all")
            if number // LOT_BATCHES in deleted:
                fault(number, f"{lines} records found after they were deleted")
        if self.retained:
            for number, state in enumerate(states):
                if state is ACKNOWLEDGED and number not in found and number // LOT_BATCHES not in deleting:
                    fault(number, f"acknowledged, and its {lines_of[number]} records are lost")
        return faults
