"""The docs checks of `make check`: the command reference is what the commands say, and every link leads somewhere."""

import re
import sys
from pathlib import Path

from docs.reference import FILE, reference

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def problems() -> list[str]:
    """Say what is wrong with the docs."""
    found = []
    if not FILE.exists() or FILE.read_text(encoding="utf-8") != reference():
        found.append(f"{FILE.relative_to(ROOT)} is out of date; run `python -m docs.reference`")
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        links = _LINK.findall(page.read_text(encoding="utf-8"))
        missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
        found += [f"{page.relative_to(ROOT)}: no {link}" for link in missing]
    return found


if __name__ == "__main__":
    for problem in problems():
        print(problem, file=sys.stderr)
    sys.exit(bool(problems()))
