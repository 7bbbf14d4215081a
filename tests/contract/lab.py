"""A lab of a test's own, under a directory that the servers' account can enter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from dr.lab import control
from tests.support import open_directory


@contextmanager
def lab_home() -> Iterator[Path]:
    """A DR_HOME; whatever lab runs in it at the end is taken down."""
    with open_directory("dr-lab-") as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_HOME", str(home))
        try:
            yield home
        finally:
            control.down()


def client(service: str, **changed: Any) -> Any:
    """A boto3 client of the running lab; retries off unless ``retries`` says how many attempts."""
    env = control.env()
    attempts = changed.pop("attempts", 1)
    settings = {
        "endpoint_url": env["AWS_ENDPOINT_URL"],
        "region_name": env["AWS_DEFAULT_REGION"],
        "aws_access_key_id": env["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
        **changed,
    }
    config = Config(retries={"total_max_attempts": attempts}, parameter_validation=False)
    return boto3.client(service, config=config, **settings)


def environment() -> dict[str, str]:
    """What ``eval "$(dr lab env)"`` gives a shell."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **control.env()}
