"""What `curate audit --retrain` keeps: a folder a training, in the private folder, to go on with another time."""

import shutil
from pathlib import Path

FOLDER = "audits"


def discard(private: Path) -> None:
    """Give all of it up: it names images, and tells what networks saw in them."""
    shutil.rmtree(private / FOLDER, ignore_errors=True)
