"""``python -m tests.truth [--labs N] [NAME...]``: play the cases, and say where dr told the truth.

NAME is a case's, or how it begins. Ends with 1 where any case is wrong.
"""

from __future__ import annotations

import argparse
import queue
import sys
import threading

from tests.labs import lab_up
from tests.truth.cases import ALL
from tests.truth.driver import Player
from tests.truth.table import Case, Told, grid, wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.truth")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a case, or how several begin; none: all")
    parser.add_argument("--labs", type=int, default=2, help="how many labs work side by side")
    parser.add_argument("--list", action="store_true", help="print the cases and play none")
    asked = parser.parse_args()
    chosen = [case for case in ALL if not asked.names or case.name.startswith(tuple(asked.names))]
    if asked.list:
        for case in chosen:
            print(f"{case.truth:<11} {case.expected:<13} {case.name:<42} {case.tells}")
        return 0
    played = play(chosen, asked.labs)
    print(f"\n{grid(played)}\n")
    missed = [(case, why) for case, told in played if (why := wrong(case, told))]
    for case, why in missed:
        print(f"WRONG {case.truth} {case.name}: {why}")
    print(f"{len(played) - len(missed)} of {len(played)} cases are told right.")
    return 1 if missed or len(played) < len(chosen) else 0


def play(cases: list[Case], labs: int) -> list[tuple[Case, Told]]:
    """Each case in whichever lab is free. What is told is printed as it comes."""
    waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    played: list[tuple[Case, Told]] = []
    threads = [threading.Thread(target=_work, args=(waiting, played)) for _ in range(min(labs, len(cases)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(played, key=lambda one: cases.index(one[0]))


def _work(waiting: queue.SimpleQueue[Case], played: list[tuple[Case, Told]]) -> None:
    with lab_up("--single") as lab:
        player = Player(lab)
        try:
            while not waiting.empty():
                case = waiting.get_nowait()
                told = player.play(case)
                played.append((case, told))
                right = "WRONG" if wrong(case, told) else "right"
                print(f"{right} {told.seconds:6.1f} s  {case.name}: {told.status or 'not played'}", flush=True)
        except queue.Empty:
            return
        finally:
            player.close()


if __name__ == "__main__":
    sys.exit(main())
