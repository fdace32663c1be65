"""A Label Studio of this project's own: started on loopback, stopped, found again."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from filelock import FileLock

from db.errors import LabelStudioError
from db.files import process_lives, write_atomically
from labeler.client import Server
from labeler.install import Installation, clean_environment

USER = "curate@localhost.localdomain"
"""Who signs in. The server is on loopback, and its password is this project's alone."""
_STARTED: list[subprocess.Popen[bytes]] = []
"""Servers of this process, held on to: they outlive it, and Python would warn of a child that nobody waits for."""
_NOT_TO_BE_CALLED = (
    "0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,192.0.2.0/24,192.88.99.0/24,"
    "192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,224.0.0.0/4,240.0.0.0/4,::/3,2001::/32,2001:20::/28,"
    "2001:db8::/32,2002::/16,4000::/2,8000::/1"
)
"""Networks that the server must not call on anybody's behalf: as it has them itself, without IPv4's loopback, where
`curate label watch` listens. Its own switches for that would open all private networks."""
_START_SECONDS = 180
_STOP_SECONDS = 15
_EXEC_SECONDS = 5
"""That a process may take from its start until its arguments can be read."""


@dataclass(frozen=True)
class Credentials:
    """What a project keeps of its server, in a file that its user alone can read."""

    identity: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    port: int
    pid: int | None


class LocalServer:
    """The server whose data lies in `folder`. It shows the images below `root`."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.root = root
        self._file = folder / "credentials.json"
        self._log = folder / "server.log"
        self._put_back()

    @property
    def exists(self) -> bool:
        """Whether it was started before."""
        return self._file.exists()

    def credentials(self) -> Credentials:
        """Read what is kept. Raises LabelStudioError when it was never started."""
        try:
            return Credentials(**json.loads(self._file.read_text()))
        except FileNotFoundError:
            raise LabelStudioError("no Label Studio was started here; start it with `curate label start`") from None
        except (ValueError, TypeError) as error:
            raise LabelStudioError(
                f"{self._file} is damaged ({error}); remove it and start Label Studio anew"
            ) from error

    def server(self) -> Server:
        """Give its API."""
        kept = self.credentials()
        return Server(url=f"http://127.0.0.1:{kept.port}", token=kept.token, identity=kept.identity, local=True)

    def running(self) -> bool:
        """Whether our process lives and answers."""
        if not self.exists:
            return False
        kept = self.credentials()
        return self._is_ours(kept.pid) and _healthy(kept.port)

    def lives(self) -> bool:
        """Whether our process lives, answering or not."""
        return self.exists and self._is_ours(self.credentials().pid)

    def start(self, found: Installation, url: str) -> Server:
        """Start it, at the port of `url` if that is free, unless it runs already. Raises LabelStudioError."""
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(self.folder.with_suffix(".lock")):
            if not self._comes_up():
                self.stop()  # it hangs, or shows the images where they were before the project folder was moved
                self._prepare(found)
                self._spawn(found, _free_port(urlsplit(url).port or 8080))
        return self.server()

    def stop(self) -> bool:
        """Stop it, and tell whether it ran. A request that it is serving is rolled back."""
        if not self.exists:
            return False
        kept = self.credentials()
        if not self._is_ours(kept.pid) or kept.pid is None:
            return False
        os.kill(kept.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while _lives(kept.pid):
            if time.monotonic() > deadline:
                os.kill(kept.pid, signal.SIGKILL)
            time.sleep(0.05)
        for process in [process for process in _STARTED if process.pid == kept.pid]:
            process.wait()
            _STARTED.remove(process)
        return True

    def _put_back(self) -> None:
        """Undo the first half of a restore that was killed between its two halves."""
        old = self.folder.with_suffix(".old")
        if not self.folder.exists() and old.exists():
            with FileLock(self.folder.with_suffix(".lock")):
                if not self.folder.exists() and old.exists():
                    old.rename(self.folder)

    def _comes_up(self) -> bool:
        """Whether our process lives, for this place, and answers, or will soon: whoever started it may have died."""
        if not self.exists:
            return False
        kept = self.credentials()
        deadline = time.monotonic() + _START_SECONDS
        while self._is_ours(kept.pid) and str(self.folder) in _command(kept.pid):
            if _healthy(kept.port):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return False

    def _prepare(self, found: Installation) -> None:
        """Make the data folder, whole or not at all: a copy of the template with secrets of its own."""
        if self.exists:
            return
        unfinished = self.folder.with_suffix(".new")
        for path in (unfinished, self.folder):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(found.template, unfinished)
        unfinished.chmod(0o700)  # its database holds the token, and is readable by all
        (unfinished / "home").mkdir()
        # Hex, written by us: a generated key that begins with "$" cannot be read back.
        write_atomically(unfinished / ".env", f"SECRET_KEY={secrets.token_hex(32)}\n".encode(), mode=0o600)
        unfinished.rename(self.folder)
        self.keep(Credentials(f"local:{uuid.uuid4()}", secrets.token_urlsafe(18), secrets.token_hex(20), 0, None))

    def keep(self, kept: Credentials) -> None:
        """Write down what is kept."""
        write_atomically(self._file, json.dumps(asdict(kept)).encode(), mode=0o600)

    def _spawn(self, found: Installation, port: int) -> None:
        kept = self.credentials()
        arguments = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
        with self._log.open("ab") as file:
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                [str(found.program), *arguments, "--data-dir", str(self.folder), "--log-level", "WARNING"],
                env=self._environment(kept),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C in the terminal is not for it
            )
        _STARTED.append(process)
        self.keep(Credentials(kept.identity, kept.password, kept.token, port, process.pid))
        deadline = time.monotonic() + _START_SECONDS
        while not _healthy(port):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise LabelStudioError(f"Label Studio did not start; its last words are in {self._log}")
            time.sleep(0.1)

    def _environment(self, kept: Credentials) -> dict[str, str]:
        return clean_environment(self.folder) | {
            # Read when the user is made, at the first start, and never again.
            "LABEL_STUDIO_USERNAME": USER,
            "LABEL_STUDIO_PASSWORD": kept.password,
            "LABEL_STUDIO_USER_TOKEN": kept.token,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(self.root),
            # Without it every import of predictions counts anew those of the whole project.
            "fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short": "true",
            "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
            "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS": _NOT_TO_BE_CALLED,
        }

    def _is_ours(self, pid: int | None) -> bool:
        """Whether the process of this number is this server, and not one that got the number later."""
        if pid is None or not _lives(pid):
            return False
        if not Path("/proc/self").exists():
            return True  # the number has to do on a system without /proc
        # Both of these, unlike its arguments, follow when the project folder is moved. It leaves its working folder for
        # a moment whenever it looks for its version, at its start as well.
        here = _same(f"/proc/{pid}/cwd", self.folder) or _same(f"/proc/{pid}/fd/1", self._log)
        return here and "label-studio" in _command(pid)


def _same(link: str, path: Path) -> bool:
    try:
        return Path(link).samefile(path)
    except OSError:
        return False


def _command(pid: int | None) -> str:
    """Arguments of a process; empty once it has ended."""
    deadline = time.monotonic() + _EXEC_SECONDS
    while not (found := _arguments(pid)) and pid is not None and _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)  # whoever started it goes on before its arguments are in place: on a busy machine much earlier
    return found


def _arguments(pid: int | None) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _lives(pid: int) -> bool:
    # A server that this process started stays in the table, dead, until it is waited for, as asking after it does.
    if any(process.pid == pid and process.poll() is not None for process in _STARTED):
        return False
    try:  # and one whose parent has gone, wherever a container's first process waits for nobody
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] not in {"Z", "X"}
    except OSError:
        return process_lives(pid)


def _healthy(port: int) -> bool:
    try:
        # Without certificates, which plain HTTP has no use for: reading them takes longer than asking.
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5, trust_env=False, verify=False).is_success  # noqa: S501
    except httpx.TransportError:
        return False


def _free_port(wanted: int) -> int:
    """Give `wanted`, or another if it is taken: Label Studio itself would move on without a word."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LabelStudioError("no free port on this machine")
