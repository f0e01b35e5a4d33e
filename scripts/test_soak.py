"""The soak's checker finds what it is there to find: `python3 -m unittest scripts/test_soak.py`."""

import random
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import soak_report
from soak_ledger import ACKNOWLEDGED, GIVEN_UP, LINES_MAX, LOT_BATCHES, PART_BITS, Ledger, is_late, on_time


def whole(lines):
    """What the server answers for a batch that is stored once."""
    bits = {}
    for line in range(lines):
        bits[line // PART_BITS] = bits.get(line // PART_BITS, 0) | 1 << line % PART_BITS
    return [lines, bits]


class LedgerTest(unittest.TestCase):
    def setUp(self):
        self.ledger = Ledger("t")
        for lines in (100, 248, 62):
            self.ledger.close(self.ledger.open(lines), ACKNOWLEDGED)
        self.found = {number: whole(lines) for number, lines in enumerate((100, 248, 62))}

    def faults(self):
        return self.ledger.faults(self.ledger.expectation(), self.found)

    def test_what_was_acknowledged_and_is_found_once_is_right(self):
        self.assertEqual(self.faults(), [])

    def test_a_lost_batch_is_found_out(self):
        del self.found[1]
        self.assertIn("lost", self.faults()[0])

    def test_a_lost_line_is_found_out(self):
        self.found[1] = whole(247)
        self.assertIn("247 of 248", self.faults()[0])

    def test_a_doubled_line_is_found_out(self):
        self.found[1][0] += 1
        self.assertIn("doubled", self.faults()[0])

    def test_a_line_doubled_in_place_of_another_is_found_out(self):
        self.found[1] = [248, whole(247)[1]]
        self.assertIn("doubled", self.faults()[0])

    def test_an_invented_batch_and_an_invented_line_are_found_out(self):
        self.found[9] = whole(1)
        self.found[2] = whole(63)
        self.assertEqual(len([fault for fault in self.faults() if "never sent" in fault]), 2)

    def test_a_batch_given_up_may_be_there_whole_or_not_at_all(self):
        self.ledger.close(self.ledger.open(10), GIVEN_UP)
        self.assertEqual(self.faults(), [])
        self.found[3] = whole(10)
        self.assertEqual(self.faults(), [])
        self.found[3] = whole(9)
        self.assertEqual(len(self.faults()), 1)

    def test_records_found_after_their_delete_are_found_out(self):
        for _ in range(LOT_BATCHES):
            self.ledger.close(self.ledger.open(1), ACKNOWLEDGED)
        for number in range(3, len(self.ledger.batches)):
            self.found[number] = whole(1)
        lot = self.ledger.closed_lot(random.Random(1))
        self.assertEqual(lot, 0)
        self.ledger.deleted(lot)
        self.assertEqual(len(self.faults()), LOT_BATCHES)
        self.found = {number: entry for number, entry in self.found.items() if number >= LOT_BATCHES}
        self.assertEqual(self.faults(), [])

    def test_a_closed_range_counts_the_lines_on_time(self):
        self.ledger.open(248)  # not acknowledged: no range reaches it
        for seed in range(50):
            start, end, records = self.ledger.closed_range(random.Random(seed))
            chosen = [b for b in self.ledger.batches[:3] if start <= b.base_us < end]
            self.assertEqual(records, sum(not is_late(line) for b in chosen for line in range(b.lines)))
            self.assertLessEqual(end, self.ledger.batches[3].base_us)
        self.assertEqual(on_time(LINES_MAX), sum(not is_late(line) for line in range(LINES_MAX)))


class GrowthTest(unittest.TestCase):
    def samples(self, memory):
        return [{"t": t, "rss_mb": memory(t)} for t in range(100)]

    def test_memory_that_grows_is_found_out_and_memory_that_rests_is_not(self):
        self.assertEqual(len(soak_report.growth_faults(self.samples(lambda t: 100 + 5 * t))), 1)
        self.assertEqual(soak_report.growth_faults(self.samples(lambda t: 100 + t % 50)), [])

    def test_too_few_samples_give_no_verdict(self):
        self.assertIsNone(soak_report.growth_faults([{"t": 0}] * 10))


if __name__ == "__main__":
    unittest.main()
