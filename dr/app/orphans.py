"""A drill's Chaos Toolkit that outlived its session: ended before its run is cleaned up, since it would go on with it.

On Linux it dies with its session. Elsewhere, and where that was not to be, whoever holds the target ends it: then no
session can be left that it belongs to.
"""

from __future__ import annotations

from dr.evidence.directory import RunDirectory
from dr.host.processes import end
from dr.host.saying import say
from dr.ports import Clock

STARTED, ENDED = "Chaos Toolkit started", "Chaos Toolkit ended"
"""Events of a drill's ledger; the first names the process as ``who``."""


def end_orphan(directory: RunDirectory, clock: Clock) -> None:
    """End the Chaos Toolkit of ``directory``'s run where it still runs, and say so. The target's lock is held.

    Raises ProviderError where it does not end.
    """
    ledger = directory.ledger(clock)
    who = ""
    for entry in ledger.entries():
        if entry.kind == "event" and entry.data.get("text") == STARTED:
            who = str(entry.data.get("who", ""))
        elif entry.kind == "event" and entry.data.get("text") == ENDED:
            who = ""
    if who and end(who):
        pid = who.partition(":")[0]
        say(f"Chaos Toolkit of run {directory.id} still ran without its session, as process {pid}; it was ended.")
        ledger.append("event", data={"text": "An orphaned Chaos Toolkit was ended", "who": who})
