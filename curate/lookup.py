"""Which image a user means: by number, by hash, by file, or by the address that it came from."""

import re
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import DatasetError
from db.models import Candidate, Image
from db.store import digest

_HASH = re.compile(r"[0-9a-f]{8,64}")
_NAMED = re.compile(r"([0-9a-f]{64})\.\w+")
_HOW = "give its number, 8 or more digits of its SHA-256, a file, or the address that it came from"
_SHOWN = 3


def is_address(given: str) -> bool:
    """Whether a user gave a URL."""
    return "://" in given


def candidate_at(session: Session, address: str) -> Candidate | None:
    """Give the candidate of an address, exactly as it was offered. Raises DatasetError for what is no text."""
    if address.encode("utf-8", "replace").decode() != address:
        raise DatasetError(f"{address!a} is not written in UTF-8")
    return session.scalars(select(Candidate).where(Candidate.address == address)).first()


def find_image(session: Session, given: str) -> Image:
    """Find the one image that a user means, a forgotten one too.

    A number is an id where there is such an image, and else digits of a hash. Raises DatasetError.
    """
    if is_address(given):
        return _from_address(session, given)
    return _by_number(session, given) or _by_hash(session, given) or _by_file(session, given)


def _from_address(session: Session, address: str) -> Image:
    candidate = candidate_at(session, address)
    if candidate is None:
        raise DatasetError(f"nothing is known of {address}")
    if candidate.image_id is None:
        raise DatasetError(f"no image came from {address}; `curate why {address}` says what did")
    return session.get_one(Image, candidate.image_id)


def _by_number(session: Session, given: str) -> Image | None:
    # SQLite counts to 2^63; what is longer can only be digits of a hash.
    return session.get(Image, int(given)) if re.fullmatch(r"[0-9]{1,18}", given) else None


def _by_hash(session: Session, given: str) -> Image | None:
    """Find by digits of a hash alone, or by the name of a stored file, wherever it lies."""
    named = _NAMED.fullmatch(Path(given).name)
    digits = named[1] if named else given.lower()
    if not _HASH.fullmatch(digits):
        return None
    query = select(Image).where(Image.sha256.between(digits.ljust(64, "0"), digits.ljust(64, "f")))
    found = session.scalars(query.order_by(Image.id).limit(_SHOWN + 1)).all()
    if len(found) > 1:
        shown = ", ".join(f"{image.id} ({image.sha256})" for image in found[:_SHOWN])
        more = " and more" if len(found) > _SHOWN else ""
        raise DatasetError(f"{given!r} begins the hashes of several images: {shown}{more}; give more digits")
    return found[0] if found else None


def _by_file(session: Session, given: str) -> Image:
    path = Path(given)
    if not path.exists():
        raise DatasetError(f"no image {given!r} here; {_HOW}")
    try:
        sha256 = digest(path)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    image = session.scalars(select(Image).where(Image.sha256 == sha256)).first()
    if image is None:
        raise DatasetError(f"the bytes of {path} are no image of this dataset; a copy must be the same to the byte")
    return image
