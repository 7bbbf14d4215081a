"""When a settle ends: all of its paths good together, or waited for long enough since the disaster. Virtual time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.config.context import Context
from dr.config.model import Meter
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Demand, Effect, Facts, Plan, Progress, Purpose, Request, RunIdentity, Verb
from dr.drivers.measuring import settle
from dr.drivers.measuring.provider import MeasuringProvider
from dr.evidence.directory import RunDirectory
from dr.evidence.model import RunRecord
from dr.evidence.samples import header, marker_line, markers_file, sample_line, samples_file
from dr.host import children
from dr.host.children import PidFile
from tests.integration.meters import context
from tests.targets import retargeted
from tests.virtual import VirtualClock

RUN = RunIdentity("20250101T000000-db-failover-ab12", "lab", Purpose.DRILL, "")
FACTS = Facts(0.0, "000000000000", "eu-central-1")
METER = Meter(rate=10.0, markers=10.0, timeout=2.0, window=1.0, settle=5.0, settle_longest=5.0)
LIMIT = 120.0
BEFORE = 20.0
"""Seconds that every path was measured and good before the disaster."""
PATHS = ("source", "writes", "reads")


class World:
    """A run whose disaster strikes at once, the paths that were measured before it, and a clock."""

    def __init__(
        self,
        run: Path,
        demanded: tuple[str, ...] = PATHS,
        before: str = "g",
        longest: float = METER.settle,
        errors: float = 0.01,
    ) -> None:
        self.run, self.clock = run, VirtualClock()
        made = context(run, meter=msgspec.structs.replace(METER, settle_longest=longest))
        self.context = Context(made.name, made.target, made.settings, run, run, self.clock, made.owner)
        self.provider = MeasuringProvider(self.context)
        self._next, self._results = dict[str, int](), dict[str, Any]()
        self._pidfiles = list[PidFile]()
        self.zero = self.clock.now().mono_ns - int(BEFORE * 1e9)
        for path in PATHS:
            self._start(path, before)
        strike = Call("host-lost", "1-disaster", "disaster", "faults", "put-in", effect=Effect.FAULT)
        demands = (
            *(Demand("outage", path, LIMIT, "s") for path in demanded),
            Demand("errors", "source", errors, "share"),
        )
        plan = Plan(Request("lab", (), Purpose.DRILL), RUN, (strike,), demands)
        directory = RunDirectory(run)
        directory.create(RunRecord(plan, self.clock.now(), "", {}, METER.window))
        directory.ledger(self.clock).append("effect", "host-lost", {"at": self.clock.at})

    def _start(self, path: str, before: str) -> None:
        start = self.clock.now()
        if path == "writes":
            markers_file(self.run, path).write_bytes(header(path, METER.markers, METER.timeout, start, 0.0, 0.0))
        else:
            samples_file(self.run, path).write_bytes(header(path, METER.rate, METER.timeout, start))
        self.holds(f"meter-{'mark' if path == 'writes' else 'measure'}-{path}.pid")
        self._next[path] = 0
        self._write(path, before * int(BEFORE * METER.rate))

    def holds(self, *names: str) -> None:
        """This process is what these pid files name."""
        self._pidfiles += [PidFile(self.run / name, children.identity(os.getpid())) for name in names]

    def _write(self, path: str, told: str) -> None:
        """A line for each: g(ood), s(lowly so, after 0.3 s), f(ailed), p(rober late), u(nder way)."""
        lines = b"".join(self._line(path, n, what) for n, what in enumerate(told, self._next[path]))
        file = (markers_file if path == "writes" else samples_file)(self.run, path)
        with file.open("ab") as out:
            out.write(lines)
        self._next[path] += len(told)

    def _line(self, path: str, n: int, what: str) -> bytes:
        due = self.zero + int(n * 1e9 / METER.rate)
        late = 400_000_000 if what == "p" else 40_000
        done = due + late + (300_000_000 if what == "s" else 5_000_000)
        if path == "writes":
            outcome = {"f": "failed", "u": "indeterminate"}.get(what, "acknowledged")
            return marker_line(n, due, due + late, 0 if what == "u" else done, outcome, late=late)
        return sample_line(n, due, due + late, done, 0 if what == "f" else 200, "timeout" if what == "f" else "", late)

    def withheld(self, path: str, count: int) -> range:
        """Numbers that were asked, and of which nothing is written yet."""
        first = self._next[path]
        self._next[path] += count
        return range(first, first + count)

    def tell(self, path: str, numbers: range, what: str) -> None:
        """Write what became of ``withheld`` ones."""
        with samples_file(self.run, path).open("ab") as out:
            out.write(b"".join(self._line(path, n, what) for n in numbers))

    def passes(self, seconds: float, **paths: str) -> None:
        """Time passes, in which each path is good, or what it is said to be."""
        for path in PATHS:
            self._write(path, paths.get(path, "g") * round(seconds * METER.rate))
        self.clock.at += seconds

    def begin(self, *paths: str) -> None:
        (self.call,) = self.provider.propose(Verb("settle", {"paths": list(paths or PATHS)}), FACTS, RUN)
        self.result = self.provider.apply(self.call, self.call.args)

    def poll(self) -> Progress:
        return self.provider.poll(self.call, self.result)

    def settles(self) -> bool:
        return self.poll().done


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_all_paths_are_one_call_whose_seconds_stand_in_the_configuration(world: World) -> None:
    world.begin()
    assert (world.call.id, world.call.operation, world.call.effect) == ("settle", "settle", Effect.READS)
    assert world.call.args == {
        "paths": {"source": world.context.target.service.url, "writes": "", "reads": ""},
        "seconds": METER.settle,
        "longest": METER.settle,
    }
    assert world.call.deadline > LIMIT + 2 * METER.settle


def test_a_copy_is_measured_for_its_seconds_and_not_waited_for(world: World) -> None:
    (call,) = world.provider.propose(Verb("settle", {"paths": ["restored"]}), FACTS, RUN)
    assert (call.id, call.phase, call.args["paths"]) == ("settle-restored", "verify", {"restored": "${serve.url}"})
    assert call.deadline < LIMIT


def test_a_path_that_is_named_twice_is_a_usage_error(world: World) -> None:
    with pytest.raises(UsageError, match="different ones"):
        world.provider.propose(Verb("settle", {"paths": ["source", "source"]}), FACTS, RUN)


def test_without_a_service_the_source_does_not_settle(world: World) -> None:
    object.__setattr__(world.context, "target", retargeted(world.context.target, service=None))
    with pytest.raises(RefusedError, match="The target has no section 'service'"):
        world.begin("source")


def test_paths_settle_when_all_were_good_for_their_seconds(world: World) -> None:
    world.begin()
    world.passes(4.9)
    progress = world.poll()
    assert not progress.done
    assert "writes: 5 of 5 s measured" in progress.note
    world.passes(0.1)
    progress = world.poll()
    assert progress.done
    assert progress.result["settled"] == {path: {"first": 200, "last": 249} for path in PATHS}


def test_how_long_the_runs_own_service_was_stopped_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.holds("serve.pid", "meter-measure-restored.pid")
    copied = samples_file(world.run, "restored")
    copied.write_bytes(header("restored", METER.rate, METER.timeout, world.clock.now()))
    monkeypatch.setattr(settle, "_counts", lambda _: None)
    world.begin("restored")
    with copied.open("ab") as out:
        out.write(b"".join(world._line("restored", n, "g") for n in range(60)))
    for still in (False, True, True, False):
        monkeypatch.setattr(children, "stands_still", lambda group, now=still: now and group == os.getpid())
        world.clock.at += 1.0
        world.poll()
    assert world.poll().result["settled"]["restored"] == {"first": 0, "last": 59, "stood": 2.0}


def test_one_path_that_is_out_is_waited_for_and_all_end_together(world: World) -> None:
    world.begin()
    world.passes(60.0, writes="f")
    progress = world.poll()
    assert (progress.done, progress.note) == (False, "writes: 60 s measured, and not back")
    world.passes(4.9)
    assert not world.settles()
    world.passes(0.1)
    assert world.poll().result["settled"]["source"] == {"first": 200, "last": 849}


def test_a_path_that_breaks_while_another_is_waited_for_is_waited_for_in_its_turn(world: World) -> None:
    world.begin()
    world.passes(9.0, writes="f")
    world.passes(3.0, reads="f")
    world.passes(3.0)
    assert world.poll().note == "reads: 15 s measured, and not back"
    world.passes(2.0)
    assert world.settles()


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_later_than_it_was_before_the_disaster_is_waited_for(world: World, path: str) -> None:
    world.begin()
    world.passes(4.0)
    world.passes(0.1, **{path: "s"})
    world.passes(2.8)
    assert not world.settles()
    world.passes(0.2)
    assert world.settles()
    world.passes(8.0, **{path: "s"})
    assert not world.settles()


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_as_slow_as_it_was_before_the_disaster_is_not(tmp_path: Path, path: str) -> None:
    world = World(tmp_path, before="s")
    world.begin()
    world.passes(5.0, **{path: "s"})
    assert world.settles()


def test_where_nobody_knows_what_was_usual_a_path_is_held_to_its_own_median(tmp_path: Path) -> None:
    world = World(tmp_path, before="f")
    world.begin()
    world.passes(4.9)
    world.passes(0.1, source="s")
    assert not world.settles()
    world.passes(3.0)
    assert world.settles()


def test_what_is_under_way_is_waited_for_as_long_as_it_may_take(world: World) -> None:
    world.begin()
    world.passes(4.9)
    world.passes(0.1, writes="u")
    world.passes(2.9)
    assert not world.settles()
    world.passes(0.2)
    assert world.settles()


def test_a_settle_ends_with_a_number_that_is_there(world: World) -> None:
    """As where a meter was killed, and what it had not written yet is lost."""
    world.begin()
    world.passes(6.0)
    world.withheld("source", 10)
    world.passes(2.6)
    assert world.poll().result["settled"]["source"] == {"first": 200, "last": 259}
    world.passes(1.0)
    assert world.poll().result["settled"]["source"] == {"first": 200, "last": 305}


def test_a_path_that_hangs_is_not_settled_because_nobody_has_heard_of_it_yet(world: World) -> None:
    """Some are answered, while others hang and time out."""
    world.begin()
    world.passes(4.5)
    hung = world.withheld("source", 10)
    world.passes(1.0)
    assert not world.settles()
    world.tell("source", hung, "f")
    assert not world.settles()
    world.passes(5.0)
    assert world.settles()


def test_a_path_is_waited_for_until_the_judge_sees_it_back_past_what_the_prober_slept_through(world: World) -> None:
    world.begin()
    world.passes(4.0, source="f")
    world.passes(2.0)
    world.passes(1.0, source="p")
    world.passes(2.0)
    assert world.poll().note == "source: not seen back"
    world.passes(1.0)
    assert world.settles()


def test_patience_is_counted_from_when_a_path_went_out_and_not_from_the_settles_beginning(world: World) -> None:
    world.passes(100.0, writes="f")  # the provider took its time
    world.begin()
    world.passes(26.0, writes="f")
    assert not world.settles()
    # The limit, the seconds that a path would be good for at its end, and those in which the last may hang.
    world.passes(1.1, writes="f")
    progress = world.poll()
    assert progress.done, progress.note
    assert progress.result["settled"]["writes"] == {"first": 1200, "last": 1470}


def test_a_path_that_went_out_after_the_disaster_is_waited_for_until_it_was_out_for_too_long(world: World) -> None:
    """As where a provider begins a failover late: else nobody would know that it lasted longer than it may."""
    world.passes(30.0)
    world.passes(70.0, writes="f")
    world.begin()
    world.passes(56.0, writes="f")
    assert not world.settles()
    world.passes(1.5, writes="f")
    assert world.settles()
    assert world.call.deadline > 57.5


def test_a_settle_that_begins_too_late_to_wait_still_measures_its_seconds(world: World) -> None:
    world.passes(300.0, writes="f")
    world.begin()
    world.passes(4.9, writes="f")
    assert not world.settles()
    world.passes(0.1, writes="f")
    assert world.settles()


def test_a_path_that_is_not_demanded_back_is_not_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, demanded=("source", "reads"))
    world.begin()
    world.passes(5.0, writes="f")
    assert world.settles()


def test_a_prober_that_was_late_itself_measures_up_to_twice_as_long(world: World) -> None:
    world.begin("source")
    world.passes(2.0, source="p")
    world.passes(3.0)
    assert world.poll().note == "source: 5 s measured, and the prober was late too often"
    world.passes(2.9)
    assert not world.settles()
    world.passes(0.1)
    assert world.settles()


def test_a_prober_that_is_late_for_good_ends_at_twice_the_time(world: World) -> None:
    world.begin("source")
    world.passes(9.9, source="p")
    assert not world.settles()
    world.passes(0.1, source="p")
    assert world.settles()


NEAR = "source: {} s measured, and the errors are too near their limit to tell"


def test_errors_near_their_limit_are_measured_on_until_bounds_decide(tmp_path: Path) -> None:
    """None of 50 or of 200 proves less than one in fifty at their look; none of 400 does."""
    world = World(tmp_path, longest=60.0, errors=0.02)
    world.begin("source")
    for seconds, told in ((5.0, 5), (5.0, 10), (10.0, 20), (19.9, 40)):
        world.passes(seconds)
        assert world.poll().note == NEAR.format(told)
    world.passes(0.1)
    assert world.poll().result["settled"] == {"source": {"first": 200, "last": 599, "looks": 4}}


def test_errors_that_nothing_decides_end_the_settle_after_the_longest_it_may_take(tmp_path: Path) -> None:
    world = World(tmp_path, longest=60.0)
    world.begin("source")
    for _ in range(19):
        world.passes(2.9)
        world.passes(0.1, source="f" if world.clock.at % 30 < 3 else "g")
        assert not world.settles()
    world.passes(3.0)
    assert world.poll().result["settled"]["source"] == {"first": 200, "last": 799, "looks": 5}
    assert world.call.deadline > 60.0


def test_errors_that_are_surely_beyond_their_limit_are_not_measured_on(tmp_path: Path) -> None:
    world = World(tmp_path, demanded=(), longest=60.0)
    world.begin("source")
    world.passes(5.0, source="f")
    assert world.poll().result["settled"]["source"] == {"first": 200, "last": 249, "looks": 1}


def test_of_a_limit_of_no_errors_more_requests_prove_no_more(tmp_path: Path) -> None:
    world = World(tmp_path, longest=60.0, errors=0.0)
    world.begin("source")
    world.passes(5.0)
    assert world.settles()


def test_what_was_read_once_is_not_read_again(world: World, tmp_path: Path) -> None:
    world.begin()
    world.passes(2.0, writes="f")
    assert not world.settles()
    for file in (markers_file(tmp_path, "writes"), samples_file(tmp_path, "source")):
        file.write_bytes(b"-" * (file.stat().st_size - 1) + b"\n")  # whoever reads it again finds nothing
    world.passes(5.0)
    assert world.settles()


def test_a_process_that_comes_upon_a_settle_decides_as_the_one_that_began_it(world: World) -> None:
    world.begin()
    world.passes(3.0, writes="f")
    assert not world.settles()
    world.passes(5.0)
    fresh = MeasuringProvider(world.context).poll(world.call, world.result)
    assert fresh == world.poll()
    assert fresh.done


def test_a_meter_that_ended_fails_the_settle(world: World) -> None:
    world.begin()
    world._pidfiles[PATHS.index("writes")].conclude("Measurements cannot be written: the disk is full.")
    (world.run / "meter-mark-writes.pid").write_text(
        (world.run / "meter-mark-writes.pid").read_text().replace(f'"{os.getpid()}:', '"999999999:')
    )
    with pytest.raises(ProviderError, match="mark-writes ended early: Measurements cannot be written"):
        world.poll()
