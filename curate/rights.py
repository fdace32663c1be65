"""Licences under one name each, whatever a source calls them, and what they allow.

Names are those of https://spdx.org/licenses, or `LicenseRef-…` in the same manner where it has none. What cannot be
told for sure has no name: nothing is assumed of it.
"""

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum

RESERVED = "LicenseRef-all-rights-reserved"
_PUBLIC_DOMAIN = "CC-PDM-1.0"
_LONGEST = 1000

_TERMS = tuple(
    (re.compile(pattern), term)
    for pattern, term in (
        (r"creative ?commons", "cc"),
        (r"attribution", "by"),
        (r"non ?commercial", "nc"),
        (r"no ?deriv(?:ative)?s?(?: works)?", "nd"),
        (r"share ?alike", "sa"),
    )
)
_VERSIONED = (
    r"(?P<terms>(?:by|nc|nd|sa)(?: (?:by|nc|nd|sa))*)(?: v?(?P<version>\d(?:[. ]\d)?)(?: (?P<port>[a-z]{2}|igo))?)?\b"
)
_CC_ANYWHERE = re.compile(rf"\bcc {_VERSIONED}")
_CC_ALONE = re.compile(rf"{_VERSIONED}(?: licen[cs]e| international| generic| unported)*")
"""Without `cc` before it, all of the text must be the licence: in a sentence `by` says who made a picture."""
_CC_URL = re.compile(
    r"creativecommons\.org/licenses/(?P<terms>[a-z-]+)/(?P<version>\d\.\d)(?:/(?P<port>[a-z]{2,3})\b)?"
)
_LIMIT = re.compile(r"\b(?:nc|nd)(?![a-z])")
_CC_TERMS = {"BY", "BY-SA", "BY-ND", "BY-NC", "BY-NC-SA", "BY-NC-ND", "SA"}
_CC_VERSIONS = {"1.0", "2.0", "2.1", "2.5", "3.0", "4.0"}
_CC_PORTS = {
    "CC-BY-2.5": "AU",
    "CC-BY-3.0": "AT AU DE IGO NL US",
    "CC-BY-NC-3.0": "DE",
    "CC-BY-NC-ND-3.0": "DE IGO",
    "CC-BY-NC-SA-2.0": "DE FR UK",
    "CC-BY-NC-SA-3.0": "DE IGO",
    "CC-BY-ND-3.0": "DE",
    "CC-BY-SA-2.0": "UK",
    "CC-BY-SA-2.1": "JP",
    "CC-BY-SA-3.0": "AT DE IGO",
}
"""Ported versions that SPDX has. The others name another law than the unported one, and allow the same."""

_DENIED = re.compile(r"\b(?:not|never|no longer|unless|except)\b")
"""A text that denies something is read by people only."""
_FIRST_WORDS = (
    (re.compile(r"\ball rights reserved\b|^in copyright\b|^(?:fair|non ?free) use\b"), RESERVED),
    (re.compile(r"\bnc sampling ?(?:\+|plus)"), "LicenseRef-CC-NC-sampling-plus-1.0"),
    (re.compile(r"\bsampling ?(?:\+|plus)"), "LicenseRef-CC-sampling-plus-1.0"),
    (re.compile(r"\bcc ?0\b|^cc ?zero\b|\bpublic domain dedication\b"), "CC0-1.0"),
    (re.compile(r"^(?:licenseref )?attribution$"), "LicenseRef-attribution"),
)
_LAST_WORDS = (
    (re.compile(r"\bno known copyright\b"), "LicenseRef-no-known-copyright-restrictions"),
    (re.compile(r"\b(?:united states|us|u s) government work\b"), "LicenseRef-US-government-work"),
    (re.compile(r"\bcopyrighted free use\b"), "LicenseRef-copyrighted-free-use"),
    (re.compile(r"\bcc pddc\b"), "CC-PDDC"),
    (re.compile(r"^(?:cc )?pdm?\b|\bpublic ?domain\b"), _PUBLIC_DOMAIN),
    (re.compile(r"\b(?:fal|lal|free art licen[cs]e|licence art libre)\b"), "LAL-1.3"),
)
_GFDL = re.compile(r"\bgfdl\b|\bgnu free documentation\b")
_GFDL_VERSION = re.compile(r"\b(1\.[123])\b")
_URLS = (
    (re.compile(r"creativecommons\.org/publicdomain/zero/"), "CC0-1.0"),
    (re.compile(r"creativecommons\.org/publicdomain/mark/"), _PUBLIC_DOMAIN),
    (re.compile(r"creativecommons\.org/licenses/publicdomain"), "CC-PDDC"),
    (re.compile(r"creativecommons\.org/licenses/nc-sampling"), "LicenseRef-CC-NC-sampling-plus-1.0"),
    (re.compile(r"creativecommons\.org/licenses/sampling"), "LicenseRef-CC-sampling-plus-1.0"),
    (re.compile(r"rightsstatements\.org/(?:vocab|page)/inc\b"), RESERVED),
    (re.compile(r"rightsstatements\.org/(?:vocab|page)/nkc\b"), "LicenseRef-no-known-copyright-restrictions"),
    (re.compile(r"flickr\.com/commons/usage"), "LicenseRef-no-known-copyright-restrictions"),
    (re.compile(r"usa\.gov/(?:government-|copyright)"), "LicenseRef-US-government-work"),
    (re.compile(r"gnu\.org/\S*fdl-1\.3"), "GFDL-1.3-or-later"),
    (re.compile(r"gnu\.org/\S*fdl"), "GFDL-1.2-or-later"),
    (re.compile(r"artlibre\.org/"), "LAL-1.3"),
)
_IS_URL = re.compile(r"(?:https?:)?//|(?:www\.)?creativecommons\.org/")
_LABELS = {
    "CC0-1.0": "CC0 1.0",
    _PUBLIC_DOMAIN: "Public Domain Mark 1.0",
    "CC-PDDC": "public domain",
    "LAL-1.3": "Free Art License 1.3",
}


class Policy(StrEnum):
    """Which licences are taken."""

    ANY = "any"
    OPEN = "open"
    """Known to let others use a picture, if only in some ways."""
    COMMERCIAL = "commercial"
    """Known to let others use it for commercial ends, too."""

    def allows(self, licence_id: str) -> bool:
        """Whether a picture under this licence may be taken; under an unknown one, only where any is."""
        if self is Policy.ANY:
            return True
        known = identify(licence_id)
        if known in {"", RESERVED}:
            return False
        return self is Policy.OPEN or "-NC-" not in f"{known}-"

    def allows_all(self, licence_ids: Iterable[str]) -> bool:
        """Whether a picture may be taken of which all this was said: an empty name says nothing, any other counts."""
        known = [one for one in licence_ids if one]
        return self.allows("") or (bool(known) and all(map(self.allows, known)))


def identify(*said: str, url: str = "") -> str:
    """Name the licence that a source tells of in its own words, the most telling first; empty where nobody can say.

    A version that only the later words or the address have is taken from there. Where one of them forbids what another
    allows, nobody can say.
    """
    found = [name for name in (*map(_by_words, said), _by_url(url)) if name]
    if not found or (found[0] != RESERVED and len(set(map(_limits, found))) > 1):
        return ""
    family = found[0].removeprefix("LicenseRef-")
    return next((name for name in found if re.fullmatch(rf"{re.escape(family)}-\d\.\d(-[A-Z]+)?", name)), found[0])


def _limits(name: str) -> frozenset[str]:
    return frozenset({RESERVED} if name == RESERVED else {"NC", "ND"}.intersection(name.split("-")))


def _by_url(url: str) -> str:
    url = url[:_LONGEST].casefold().strip()
    if found := _CC_URL.search(url):
        return _creative_commons(found, "-")
    return next((name for pattern, name in _URLS if pattern.search(url)), "")


def _by_words(said: str) -> str:
    if _IS_URL.match(said.strip().casefold()):
        return _by_url(said)
    text = _plain(said)
    if _DENIED.search(text):
        return ""
    found = _look_up(text, _FIRST_WORDS)
    return found or _by_terms(text) or _by_gfdl(text) or _look_up(text, _LAST_WORDS)


def _plain(said: str) -> str:
    """Reduce words to lower case with single spaces, and with dots only in numbers."""
    text = unicodedata.normalize("NFKC", said[:_LONGEST]).casefold()
    return " ".join(re.sub(r"\.(?!\d)|[^\w.+]|_", " ", text).split())


def _look_up(text: str, words: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    return next((name for pattern, name in words if pattern.search(text)), "")


def _by_terms(text: str) -> str:
    """Read `cc by sa 4.0`, its terms written out or not."""
    for pattern, term in _TERMS:
        text = pattern.sub(term, text)
    found = _CC_ANYWHERE.search(text) or _CC_ALONE.fullmatch(text)
    # A limit that stands apart, as in "CC BY 4.0 NC", may be one of this licence.
    if not found or set(_LIMIT.findall(text)).difference(found["terms"].split()):
        return ""
    return _creative_commons(found, " ")


def _creative_commons(found: re.Match[str], between: str) -> str:
    given = found["terms"].split(between)
    terms = "-".join(term.upper() for term in ("by", "nc", "nd", "sa") if term in given)
    version = (found["version"] or "").replace(" ", ".")
    version = f"{version}.0" if len(version) == 1 else version
    if terms not in _CC_TERMS:
        return ""
    if version not in _CC_VERSIONS:
        return f"LicenseRef-CC-{terms}" if terms != "SA" else ""
    name, port = f"CC-{terms}-{version}", (found["port"] or "").upper()
    return f"{name}-{port}" if port in _CC_PORTS.get(name, "").split() else name


def _by_gfdl(text: str) -> str:
    if not _GFDL.search(text):
        return ""
    version = _GFDL_VERSION.search(text)
    last = "only" if re.search(r"\bonly\b", text) else "or-later"
    return f"GFDL-{version[1] if version else '1.2'}-{last}"


def label(licence_id: str) -> str:
    """Write the name of a licence as people do: `CC BY-SA 4.0`."""
    if licence_id in _LABELS:
        return _LABELS[licence_id]
    name = licence_id.removeprefix("LicenseRef-")
    if name.startswith("CC-"):
        return re.sub(r"-(?=\d)|(?<=\d)-", " ", name.replace("-", " ", 1))
    return name.replace("-", " ")


def attribution(title: str, creator: str, licence_id: str, licence_url: str, page_url: str) -> str:
    """Credit a picture as Creative Commons advises, for sources that give no text: title, author, source, licence."""
    work = " by ".join(filter(None, (title and f'"{title}"', creator)))
    licence = " ".join(filter(None, (label(licence_id), licence_url and f"({licence_url})")))
    return ", ".join(filter(None, (work, page_url, licence)))
