"""``python -m dr.lab.service.artifact BUCKET KEY FILE``: get an object from S3, and put it there whole.

The endpoint and the keys are those of boto3's own variables.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(bucket: str, key: str, file: str) -> int:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    path = Path(file)
    half = path.with_name(f".{path.name}.half")
    try:
        half.write_bytes(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        half.replace(path)
    except (BotoCoreError, ClientError, OSError) as error:
        sys.stderr.write(f"s3://{bucket}/{key} cannot be had: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
