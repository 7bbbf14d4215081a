"""Whatever stands in PgBouncer's file: what can be led elsewhere comes back to the byte, and nothing else changes."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from dr.domain.errors import RefusedError
from dr.drivers.clients.pgbouncer_file import find, led
from dr.drivers.clients.place import Place

PIECES = [
    *(b"host=", b"host = ", b"port=", b"port = ", b"password=", b"dbname=x", b"h1", b"h1,h2", b"::1", b"/run", b"6543"),
    *(b"'", b"''", b"\\", b" ", b"  ", b"\t", b"\r", b"\n", b"\r\n", b"=", b";", b"#", b'"', b"\xfc", b"M\xc3\xbc"),
    *(b"[databases]\n", b"[pgbouncer]\n", b"r = ", b"\nr = host=", b'"r" = ', b"* = ", b"%include x\n", b" port=5432"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=24).map(lambda parts: b"[databases]\nr = host=a " + b"".join(parts))
PLACES = st.builds(Place, st.sampled_from(["replica-1", "10.0.0.7", "fd00::7"]), st.integers(1, 65535))


@given(text=TEXTS, to=PLACES, then=PLACES)
def test_an_entry_comes_back_to_the_byte_from_wherever_it_was_led(text: bytes, to: Place, then: Place) -> None:
    try:
        before = find(text, "r")
    except RefusedError:
        assume(False)
    away = led(text, before, to)
    assert find(away, "r").place == to
    assert led(away, find(away, "r"), to) == away, "led there again, nothing changes"
    further = led(away, find(away, "r"), then)
    assert find(further, "r").place == then
    assert led(further, find(further, "r"), before.place) == text
