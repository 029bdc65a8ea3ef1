"""The judge itself: faults are planted in the evidence and must be found."""

import unittest
from dataclasses import replace

from check import Outcome, check, longest_silence
from evidence import Line

TASKS = ("left", "right", "join")


def line(event: str, task: str) -> Line:
    return Line(event, 0.0, 1, "w1", "w1", f"r1-{task}", "r1", task, 0)


def good() -> list[Line]:
    return [line(event, task) for task in TASKS for event in ("begin", "end")]


def outcome() -> Outcome:
    return Outcome("hard", "r1", {task: {"worker": "w1"} for task in TASKS})


class CheckTest(unittest.TestCase):
    def test_a_good_run_has_no_faults(self) -> None:
        found = check([outcome()], good(), node_killed=False)
        self.assertEqual(found.figures["hard"], (1, 1, 1))
        self.assertEqual(found.faults, [])

    def test_planted_faults_are_found(self) -> None:
        elsewhere = replace(line("begin", "join"), worker="w2", attempt=1)
        stray = replace(line("begin", "left"), run="r2", task_run="r2-left")
        for name, lines, fault in (
            ("ended twice", [*good(), replace(line("end", "left"), attempt=1)], "ended 2 times"),
            ("began twice", [*good(), line("begin", "left")], "began 2 times"),
            ("elsewhere", [*good(), elsewhere], "on 2 workers"),
            ("no evidence", good()[:5], "no evidence says"),
            ("stray", [*good(), stray], "knows no such run"),
        ):
            with self.subTest(name):
                faults = check([outcome()], lines, node_killed=False).faults
                self.assertTrue(any(fault in text for text in faults), faults)

    def test_a_run_without_an_answer_is_a_fault(self) -> None:
        found = check([Outcome("soft", "r1", error="late")], good(), node_killed=False)
        self.assertEqual(found.client_errors, 1)
        self.assertIn("late", found.faults[0])

    def test_a_dropped_completion_is_excused_and_a_lost_one_is_not(self) -> None:
        failed = Outcome("hard", "r1", error="TIMED_OUT: Task exceeded timeout of 20s")
        dropped, acknowledged = line("dropped", "join"), line("acknowledged", "join")
        for lines, killed, faults in (
            ([*good(), dropped], True, 0),
            ([*good(), dropped], False, 1),
            ([*good(), acknowledged], True, 1),
            ([*good(), dropped, acknowledged], True, 1),
        ):
            found = check([failed], lines, node_killed=killed)
            self.assertEqual(len(found.faults), faults, found.faults)

    def test_the_longest_silence_counts_from_the_given_time(self) -> None:
        lines = [replace(line("begin", "left"), at=at) for at in (0.1, 0.9, 4.9, 5.0)]
        self.assertAlmostEqual(longest_silence(lines, 0.5), 4.0)


if __name__ == "__main__":
    unittest.main()
