"""The way to Label Studio's API: requests, and errors in one line.

Every call can be repeated only by its caller, who knows what a lost reply means: the SDK's own retries would post an
import twice. No redirect is followed, so the token goes to the one server it is for. Errors carry no token.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from db.errors import LabelStudioError
from labeler.query import detail

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

_TIMEOUT = httpx.Timeout(120.0, connect=5.0)


class GoneError(LabelStudioError):
    """What was asked for is not on the server (any more)."""


class RefusedError(LabelStudioError):
    """The server does not take the token: trying again changes nothing."""


@dataclass(frozen=True)
class Wire:
    """One Label Studio. `identity` tells it from others; `local` means that curate started it for this project.

    Its connections are closed at the end of a `with`; after that it opens new ones where it is asked again.
    """

    url: str
    token: str = field(repr=False)
    identity: str
    local: bool

    @cached_property
    def _http(self) -> httpx.Client:
        # A proxy from the environment may be the way to a server of the user's own, never to one on this machine.
        return httpx.Client(
            base_url=self.url,
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=not self.local,
            verify=not self.url.startswith("http:"),  # reading certificates takes longer than most requests
        )

    @cached_property
    def _sdk(self) -> "LabelStudio":
        from label_studio_sdk import LabelStudio  # noqa: PLC0415 - a second of imports, paid only where it is used

        self._check_token()
        return LabelStudio(  # type: ignore[no-untyped-call]
            base_url=self.url, api_key=self.token, max_retries=0, httpx_client=self._http
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "_http" in self.__dict__:
            self._http.close()
        for kept in ("_http", "_sdk"):
            self.__dict__.pop(kept, None)

    def authorization(self) -> str:
        """Give the whole Authorization header: `Token …`, or `Bearer …` for a personal access token."""
        if "." not in self.token:  # what people call a legacy token; a personal access token is a JWT
            self._check_token()
            return f"Token {self.token}"
        with self._by_sdk() as sdk:
            # The SDK trades a personal access token for a short-lived one and keeps it; no public way leads to it.
            return sdk._client_wrapper.get_headers()["Authorization"]  # noqa: SLF001

    def _check_token(self) -> None:
        if not (self.token.isascii() and self.token.isprintable()) or " " in self.token:
            raise LabelStudioError("the Label Studio token holds a space, a line break or the like; copy it again")

    def ask(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - whatever the API says
        """Call a route that has no method here; give its JSON, or None where it says nothing."""
        response = self._call(method, path, **options)
        return self._read(response) if response.content else None

    def _json(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - as below
        return self._read(self._call(method, path, **options))

    def _read(self, response: httpx.Response) -> Any:  # noqa: ANN401 - whatever the API says
        try:
            return response.json()
        except ValueError:
            raise self._no_label_studio(response.status_code) from None

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's options
        headers = {"Authorization": self.authorization()}
        with self._told():
            response = self._http.request(method, path, headers=headers, **options)
        if not response.is_success:
            raise self._error(response.status_code, response.text)
        return response

    @contextmanager
    def _by_sdk(self) -> Iterator["LabelStudio"]:
        """Give the SDK, and turn what it raises into one line, too."""
        from label_studio_sdk.core.api_error import ApiError  # noqa: PLC0415 - see _sdk

        with self._told():
            try:
                yield self._sdk
            except ApiError as error:
                raise self._error(error.status_code or 0, error.body) from None
            except ValueError:  # it reads JSON without asking whether it is any
                raise self._no_label_studio(httpx.codes.OK) from None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what httpx raises into one line without headers or tokens."""
        try:
            yield
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise LabelStudioError(
                    f"the certificate of {self.url} is not trusted; let SSL_CERT_FILE name the one that signed it"
                ) from None
            how = "start it with `curate label start`" if self.local else "is it up? Its address is label_studio.url"
            raise LabelStudioError(f"no Label Studio answers at {self.url}; {how}") from None
        except (httpx.RequestError, httpx.InvalidURL) as error:
            what = f"Label Studio at {self.url} broke off ({type(error).__name__})"
            raise LabelStudioError(f"{what}; run the command again, it goes on where it stopped") from None

    def _no_label_studio(self, status: int) -> LabelStudioError:
        return LabelStudioError(f"{self.url} answers, but not as a Label Studio ({status}); check label_studio.url")

    def _error(self, status: int, body: Any) -> LabelStudioError:  # noqa: ANN401 - JSON, text or HTML
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            # Nobody sees the token of a server that curate started: only there can it have been changed.
            how = "was it changed there?" if self.local else "set CURATE_LABEL_STUDIO_TOKEN anew"
            return RefusedError(f"Label Studio at {self.url} refuses the token ({status}); {how}")
        if status == httpx.codes.NOT_FOUND:
            return GoneError(f"Label Studio at {self.url} no longer has what was asked for; run the command again")
        if status < httpx.codes.BAD_REQUEST:
            return self._no_label_studio(status)
        said = f"Label Studio at {self.url} answered {status} {detail(body)}".rstrip()
        return LabelStudioError(said.replace(self.token, "(token)"))
