"""Why one input was not taken: the single list of reasons, and the value that carries one."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Everything that can be wrong with one address or one image. The list may grow, never shrink."""

    BLOCKED_ADDRESS = "blocked_address"
    SCHEME_NOT_ALLOWED = "scheme_not_allowed"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    DNS_FAILURE = "dns_failure"
    CONNECTION_FAILED = "connection_failed"
    TLS_FAILURE = "tls_failure"
    TIMEOUT = "timeout"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    RATE_LIMITED = "rate_limited"
    ROBOTS_DISALLOWED = "robots_disallowed"
    OPTED_OUT = "opted_out"
    LICENCE_REFUSED = "licence_refused"
    ENCODED_BODY = "encoded_body"
    SHORT_BODY = "short_body"
    TOO_MANY_BYTES = "too_many_bytes"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    CORRUPT = "corrupt"
    TOO_LARGE = "too_large"
    TOO_SMALL = "too_small"
    DECODER_ERROR = "decoder_error"
    UNREADABLE = "unreadable"
    UNKNOWN_CLASS = "unknown_class"
    FORGOTTEN = "forgotten"
    SOURCE_CHANGED = "source_changed"
    ODD_ASPECT = "odd_aspect"
    BLANK = "blank"
    DARK = "dark"
    LIGHT = "light"
    BLURRED = "blurred"
    TEXT = "text"
    COLLAGE = "collage"
    BY_PERSON = "by_person"

    @property
    def passing(self) -> bool:
        """Whether a later run should try again: the fault may have been the network's, not the image's."""
        return self in _PASSING

    @property
    def refused(self) -> bool:
        """Whether it may not be had or used, whatever the network does: by its owner's word, or by our own limits."""
        return self in _REFUSED


_PASSING = frozenset(
    {
        Reason.DNS_FAILURE,
        Reason.CONNECTION_FAILED,
        Reason.TLS_FAILURE,
        Reason.TIMEOUT,
        Reason.HTTP_5XX,
        Reason.RATE_LIMITED,
        Reason.SHORT_BODY,
        Reason.UNREADABLE,
    }
)


_REFUSED = frozenset(
    {
        Reason.BLOCKED_ADDRESS,
        Reason.SCHEME_NOT_ALLOWED,
        Reason.ROBOTS_DISALLOWED,
        Reason.OPTED_OUT,
        Reason.LICENCE_REFUSED,
        Reason.TOO_MANY_BYTES,
        Reason.UNSUPPORTED_FORMAT,
        Reason.TOO_LARGE,
        Reason.TOO_SMALL,
        Reason.FORGOTTEN,
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One input that was not taken, and why.

    `detail` is for people (a path, a size, the decoder's words); `http_status` is set when a server answered.
    """

    reason: Reason
    detail: str = ""
    http_status: int | None = None

    def __str__(self) -> str:
        """Read as `http_4xx 404: Not Found`."""
        status = f" {self.http_status}" if self.http_status else ""
        return f"{self.reason.value}{status}" + (f": {self.detail}" if self.detail else "")
