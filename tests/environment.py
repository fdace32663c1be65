"""What the commands that tests start see of the environment."""

import os


def clean_env() -> dict[str, str]:
    """The environment without what would steer curate, and without a way to the weights that torch would fetch."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CURATE_") or key == "CURATE_CACHE"}
    return kept | {"https_proxy": "http://127.0.0.1:9", "TORCH_HOME": os.devnull}
