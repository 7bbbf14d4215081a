"""The lab's contract suite against a real account, named by DR_TEST_AWS_TARGET: a target of dr.yaml (DR_CONFIG).

The account is charged for a few small instances for about an hour. The target's ``restored`` says where they are
placed; the machine that runs the tests must reach them. Without a target one test says that nothing was run.
"""

from __future__ import annotations

import os

import pytest

from tests.contract.rds_suite import Cloud, RdsSuite

NAMED = os.environ.get("DR_TEST_AWS_TARGET", "")

if NAMED:

    @pytest.mark.aws
    @pytest.mark.timeout(3 * 3600)
    class TestRealAccount(RdsSuite):
        @pytest.fixture(scope="class")
        @classmethod
        def cloud(cls) -> Cloud:
            import boto3

            from dr.config.load import find_target
            from dr.wiring import settings

            target = find_target(settings(), NAMED)
            files = {"AWS_SHARED_CREDENTIALS_FILE": target.rds.credentials.file} if target.rds.credentials.file else {}
            profile = {"AWS_PROFILE": target.rds.credentials.profile} if target.rds.credentials.profile else {}
            os.environ.update(files)
            session = boto3.Session(region_name=target.rds.region, profile_name=target.rds.credentials.profile or None)
            account = session.client("sts").get_caller_identity()["Account"]
            assert account == target.rds.account, f"The credentials are of account {account}."
            return Cloud(
                rds=session.client("rds"),
                sts=session.client("sts"),
                account=account,
                region=target.rds.region,
                environment={**os.environ, **files, **profile, "AWS_DEFAULT_REGION": target.rds.region},
                ca=target.postgres.ca,
                poll=15.0,
                patience=3600.0,
                placement={**target.rds.restored, "PubliclyAccessible": True},
            )

else:

    @pytest.mark.aws
    def test_the_contract_suite_against_a_real_account() -> None:
        pytest.skip(
            "no real AWS account was named: set DR_TEST_AWS_TARGET to a target of dr.yaml to run the suite on it"
        )
