"""Damaged files and arbitrary bytes: whatever they hold, there are facts or a reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.config import IngestSettings
from curate.ingest.facts import Facts, examine
from db.reasons import Reason, Refusal
from tests.pictures import encoded, jpeg, picture

BASES = [
    jpeg(1, (60, 40)),
    encoded(picture(1, (60, 40)), progressive=True, exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00"),
    encoded(picture(1, (60, 40)), "PNG"),
    encoded(picture(1, (60, 40)).quantize(8), "PNG", transparency=1),
    encoded(picture(1, (60, 40)), "GIF", save_all=True, append_images=[picture(2, (60, 40))]),
    encoded(picture(1, (60, 40)).convert("RGBA"), "WEBP"),
    encoded(picture(1, (60, 40)), "WEBP", lossless=True),
    encoded(picture(1, (60, 40)), "BMP"),
    encoded(picture(1, (60, 40)), "AVIF"),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real file with bytes changed, taken out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 6))):
        # Headers, which say the most, are at the front.
        at = draw(st.one_of(st.integers(0, 64), st.integers(0, len(data))))
        length = draw(st.integers(0, 40))
        piece = draw(st.one_of(st.binary(max_size=8), st.just(bytes(data[at : at + 2 * length]))))
        data[at : at + length] = piece
    return bytes(data)


SMALL = IngestSettings(max_pixels=1_000_000)


def assert_judged(data: bytes) -> None:
    found = examine(data, SMALL)
    assert isinstance(found, Facts | Refusal)
    if isinstance(found, Refusal):
        # That is how Pillow says that an AVIF is damaged; any other error would be news.
        known = found.detail.startswith("AVIF: RuntimeError: ")
        assert found.reason is not Reason.DECODER_ERROR or known, found


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_a_damaged_file_gives_facts_or_a_named_reason(data: bytes) -> None:
    """Never an exception, and of the reasons never the one that stands for an unknown one."""
    assert_judged(data)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([b"", *(base[:12] for base in BASES)]), st.binary(max_size=300))
def test_any_bytes_give_facts_or_a_named_reason(start: bytes, rest: bytes) -> None:
    """Never an exception, with or without the first bytes of a format."""
    assert_judged(start + rest)


@pytest.mark.soak
@settings(max_examples=100_000, deadline=None)
@given(damaged())
def test_many_damaged_files_give_facts_or_a_named_reason(data: bytes) -> None:
    """The same, for many minutes."""
    assert_judged(data)
