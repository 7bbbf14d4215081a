"""AWS as a plugin: what a target says of its account, where the section of none of its services does."""

from __future__ import annotations

from dr.config.plugins import Plugin
from dr.drivers.aws.config import AwsConfig

PLUGIN = Plugin("aws", section=AwsConfig, reads=("aws",), parts=("boto3",))
