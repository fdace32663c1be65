"""What the commands that tests start see of the environment."""

import os


def clean_env() -> dict[str, str]:
    """The environment without what would steer curate."""
    return {key: value for key, value in os.environ.items() if not key.startswith("CURATE_") or key == "CURATE_CACHE"}
