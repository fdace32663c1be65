"""The suite itself: what keeps it short, and would else be lost without a word."""

import pytest


@pytest.mark.xdist_group("suite")
def test_tests_that_share_a_server_run_in_one_process(request: pytest.FixtureRequest) -> None:
    """Among several processes the name of a group is part of a test's own; pytest 9.2 left it out."""
    grouped = request.config.getoption("loadgroup", default=False)  # set in such a process only
    assert request.node.nodeid.endswith("@suite") or not grouped
