"""Licences: one name each, whatever a source calls them, and nothing assumed of what is unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.rights import RESERVED, Policy, attribution, identify, label

SAID = {
    # Openverse: code and version
    "by-sa 4.0": "CC-BY-SA-4.0",
    "by-nc-nd 2.0": "CC-BY-NC-ND-2.0",
    "by-nd-nc 1.0": "CC-BY-NC-ND-1.0",
    "by": "LicenseRef-CC-BY",
    "cc0 1.0": "CC0-1.0",
    "pdm 1.0": "CC-PDM-1.0",
    "sampling+ 1.0": "LicenseRef-CC-sampling-plus-1.0",
    "nc-sampling+ 1.0": "LicenseRef-CC-NC-sampling-plus-1.0",
    # Commons: codes and short names
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-sa-3.0,2.5,2.0,1.0": "CC-BY-SA-3.0",
    "cc-by-sa-3.0-de": "CC-BY-SA-3.0-DE",
    "CC BY-SA 3.0 at": "CC-BY-SA-3.0-AT",
    "CC BY 3.0 igo": "CC-BY-3.0-IGO",
    "cc-by-sa-2.5-it": "CC-BY-SA-2.5",
    "cc-sa-1.0": "CC-SA-1.0",
    "pd": "CC-PDM-1.0",
    "pd-old-100": "CC-PDM-1.0",
    "Public domain": "CC-PDM-1.0",
    "GFDL": "GFDL-1.2-or-later",
    "GFDL 1.3": "GFDL-1.3-or-later",
    "GFDL 1.2 only": "GFDL-1.2-only",
    "FAL": "LAL-1.3",
    "Attribution": "LicenseRef-attribution",
    "Copyrighted free use": "LicenseRef-copyrighted-free-use",
    "Fair use": RESERVED,
    # Flickr: names
    "All Rights Reserved": RESERVED,
    "Attribution-NonCommercial-ShareAlike License": "LicenseRef-CC-BY-NC-SA",
    "Attribution License": "LicenseRef-CC-BY",
    "No known copyright restrictions": "LicenseRef-no-known-copyright-restrictions",
    "United States Government Work": "LicenseRef-US-government-work",
    "Public Domain Dedication (CC0)": "CC0-1.0",
    "Public Domain Mark 1.0": "CC-PDM-1.0",
    # Whatever people write
    "Creative Commons Attribution-Share Alike 3.0 Unported": "CC-BY-SA-3.0",
    "Creative Commons Attribution-NoDerivatives 4.0 International": "CC-BY-ND-4.0",
    "(c) Ann, some rights reserved (CC BY-NC)": "LicenseRef-CC-BY-NC",
    "Photo by Ann, licensed CC BY 4.0.": "CC-BY-4.0",
    "CC_BY_NC_4_0": "CC-BY-NC-4.0",
    "Cc BY-SA 4": "CC-BY-SA-4.0",
    "//creativecommons.org/licenses/by/2.0/deed.de": "CC-BY-2.0",
}
UNKNOWN = [
    "",
    "4",
    "by Ann",
    "Flickr licence 99",
    "Creative Commons",
    "CC BY-SA-ND 4.0",
    "not in the public domain",
    "CC BY, but not for you",
    "https://example.org/cc-by-4.0",
]
URLS = {
    "https://creativecommons.org/licenses/by/2.0/": "CC-BY-2.0",
    "http://creativecommons.org/licenses/by-sa/3.0/de/": "CC-BY-SA-3.0-DE",
    "https://creativecommons.org/licenses/by-nc-sa/2.5/it/": "CC-BY-NC-SA-2.5",
    "https://creativecommons.org/publicdomain/zero/1.0/": "CC0-1.0",
    "https://creativecommons.org/publicdomain/mark/1.0/deed.en": "CC-PDM-1.0",
    "https://creativecommons.org/licenses/publicdomain/": "CC-PDDC",
    "https://creativecommons.org/licenses/nc-sampling+/1.0/": "LicenseRef-CC-NC-sampling-plus-1.0",
    "https://creativecommons.org/licenses/sampling%2B/1.0/": "LicenseRef-CC-sampling-plus-1.0",
    "https://www.gnu.org/copyleft/fdl.html": "GFDL-1.2-or-later",
    "https://www.gnu.org/licenses/fdl-1.3.html": "GFDL-1.3-or-later",
    "https://artlibre.org/licence/lal/en/": "LAL-1.3",
    "https://rightsstatements.org/vocab/InC/1.0/": RESERVED,
    "https://example.org/licence": "",
}
WORDS = ["cc", "by", "nc", "nd", "sa", "0", "4.0", "3.0", "de", "-", " ", "/", "+", "sampling", "public domain", "pd"]
WORDS += ["gfdl", "1.3", "only", "not", "©", "attribution", "https://creativecommons.org/licenses/", "LicenseRef-"]
phrases = st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=12).map("".join)
anything = st.text(max_size=60) | phrases


@pytest.mark.parametrize(("said", "expected"), SAID.items())
def test_licences_are_named_by_what_is_said(said: str, expected: str) -> None:
    """Codes, short names and whole sentences give the licence that they mean."""
    assert identify(said) == expected


@pytest.mark.parametrize("said", UNKNOWN)
def test_what_cannot_be_told_for_sure_has_no_name(said: str) -> None:
    """A number, a name after `by`, a denial and an address of somebody else's open nothing."""
    assert identify(said) == ""


@pytest.mark.parametrize(("url", "expected"), URLS.items())
def test_licences_are_named_by_their_address(url: str, expected: str) -> None:
    """The address of a licence is enough, alone or where the words are expected."""
    assert identify(url=url) == identify(url) == expected


def test_the_first_words_that_tell_are_taken() -> None:
    """What comes later counts where what comes first says nothing."""
    assert identify("", "own work", "cc-by-4.0", "CC BY-SA 3.0") == "CC-BY-4.0"
    assert identify("All rights reserved", url="https://creativecommons.org/licenses/by/4.0/") == RESERVED


@pytest.mark.parametrize("said", ["CC BY 4.0", "CC0", "Public domain", "GFDL", "sampling+ 1.0", "cc-by-nd-4.0"])
def test_what_is_allowed_here_and_forbidden_there_has_no_name(said: str) -> None:
    """Free words beside the address of a stricter licence, or of none, are free for nobody."""
    assert identify(said, url="https://creativecommons.org/licenses/by-nc/4.0/") == ""
    assert identify(said, "All rights reserved") == ""
    assert identify(said, url="https://rightsstatements.org/vocab/InC/1.0/") == ""


def test_a_version_may_be_told_by_the_address_alone() -> None:
    """`CC BY` with the address of its version 2.0 is that version; the address of another licence changes nothing."""
    assert identify("CC BY", url="https://creativecommons.org/licenses/by/2.0/") == "CC-BY-2.0"
    assert identify("CC BY", url="https://creativecommons.org/licenses/by-sa/2.0/") == "LicenseRef-CC-BY"


@given(anything, anything)
def test_names_are_names_of_themselves(said: str, url: str) -> None:
    """Whatever is said gives a name or none, and a name that was given is kept as it is."""
    name = identify(said, url=url)
    assert identify(name) == name
    assert label(name) or not name


@pytest.mark.parametrize("name", sorted({*SAID.values(), *URLS.values()} - {""}))
def test_every_name_is_kept(name: str) -> None:
    """A name from a manifest of our own is read as what it is."""
    assert identify(name) == name


@pytest.mark.parametrize(
    ("name", "taken_by"),
    [
        ("", {Policy.ANY}),
        (RESERVED, {Policy.ANY}),
        ("a licence of its own", {Policy.ANY}),
        ("CC-BY-NC-4.0", {Policy.ANY, Policy.OPEN}),
        ("CC-BY-NC-SA-3.0-DE", {Policy.ANY, Policy.OPEN}),
        ("LicenseRef-CC-BY-NC", {Policy.ANY, Policy.OPEN}),
        ("LicenseRef-CC-NC-sampling-plus-1.0", {Policy.ANY, Policy.OPEN}),
        ("CC-BY-ND-4.0", set(Policy)),
        ("CC-BY-SA-4.0", set(Policy)),
        ("CC0-1.0", set(Policy)),
        ("CC-PDM-1.0", set(Policy)),
        ("GFDL-1.2-or-later", set(Policy)),
        ("LAL-1.3", set(Policy)),
    ],
)
def test_a_policy_takes_what_is_known_to_allow_enough(name: str, taken_by: set[Policy]) -> None:
    """`any` takes everything, `open` no unknown and no reserved rights, `commercial` no NC either."""
    assert {policy for policy in Policy if policy.allows(name)} == taken_by


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CC-BY-SA-3.0-DE", "CC BY-SA 3.0 DE"),
        ("LicenseRef-CC-BY-NC", "CC BY-NC"),
        ("CC0-1.0", "CC0 1.0"),
        ("CC-PDM-1.0", "Public Domain Mark 1.0"),
        ("GFDL-1.2-or-later", "GFDL 1.2 or later"),
        (RESERVED, "all rights reserved"),
    ],
)
def test_names_are_written_for_people(name: str, expected: str) -> None:
    """A credit line has the name that its readers know."""
    assert label(name) == expected


def test_credit_names_title_author_source_and_licence() -> None:
    """What is not known is left out, and nothing stands in its place."""
    page, deed = "https://museum.example/1", "https://creativecommons.org/licenses/by/4.0/"
    assert attribution("A guitar", "Ann", "CC-BY-4.0", deed, page) == f'"A guitar" by Ann, {page}, CC BY 4.0 ({deed})'
    assert attribution("", "Ann", "CC0-1.0", "", page) == f"Ann, {page}, CC0 1.0"
    assert attribution("A guitar", "", "", "", "") == '"A guitar"'
