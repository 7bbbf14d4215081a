"""What is written for others to read is written whole, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from dr.host.files import write_atomically


def test_what_stands_where_it_is_written_first_is_neither_followed_nor_taken(tmp_path: Path) -> None:
    """In a directory that others may write, the name can be known before."""
    path, victim, first = tmp_path / "pooler.ini", tmp_path / "victim", tmp_path / f".pooler.ini.{os.getpid()}"
    victim.write_text("another's")
    first.symlink_to(victim)
    write_atomically(path, b"ours")
    assert (victim.read_text(), path.read_text(), path.is_symlink()) == ("another's", "ours", False)
    assert not first.exists()
