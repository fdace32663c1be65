"""What `curate audit --retrain` keeps: what each network said, in the private folder, so that none is trained twice."""

import shutil
from pathlib import Path

FOLDER = "audits"


def discard(private: Path) -> None:
    """Give all of it up: it names images, and tells what networks saw in them."""
    shutil.rmtree(private / FOLDER, ignore_errors=True)
