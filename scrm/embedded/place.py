"""Decide under which account the servers run, and where their data lie.

    who starts them     account                                        data
    an ordinary user    that user                                      in the folder
    root                owner of data or folder, else postgres, nobody in the folder if the account can reach it,
                                                                       else /var/tmp/scrm-embedded-<digest of its path>

PostgreSQL refuses to run as root, and root's home is closed to everybody else. No account is created, and no permission
is changed of a directory that this package did not make itself. The data's directory carries a digest of the folder's
secret: who deletes the folder and starts again gets empty servers, never the old ones with an unknown password.
"""

import hashlib
import os
import pwd
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scrm.embedded.errors import EmbeddedServersError

ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An account of this machine to drop to."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Place:
    """Where one set of servers lives.

    folder: records, logs, lock and secret; of the one who starts. base: what the servers may enter; data: inside it.
    account: None for the account that we already are.
    """

    folder: Path
    base: Path
    data: Path
    secret: str
    account: Account | None

    def can_run(self, program: Path) -> bool:
        """Return whether the servers' account may read and run a program."""
        return self.account is None or (
            _can_enter(self.account, program.parent) and _has_bits(self.account, program, 0o5)
        )

    def make_folder(self, path: Path) -> Path:
        """Make a directory (mode 700) that belongs to the servers' account, if it is not there."""
        if not path.exists():
            path.mkdir(mode=0o700)
            path.chmod(0o700)
            self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Hand a path that we made to the servers' account."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def write_private(self, path: Path, text: str) -> Path:
        """Write a file that only the servers' account (and root) can read."""
        write_private(path, text)
        self.give(path)
        return path


def settle(folder: Path) -> Place:
    """Return the place of a folder's servers, making what is missing. Call it with the folder locked.

    Errors: EmbeddedServersError when there is no account to drop to or somebody else sits on the directory in /var/tmp.
    """
    folder = folder.resolve()
    secret = _secret(folder)
    account = _account(folder) if os.geteuid() == 0 else None
    base = folder if account is None or _can_enter(account, folder) else _outside(folder)
    data = base / f"data-{hashlib.sha256(secret.encode()).hexdigest()[:8]}"
    if not data.exists():
        data.mkdir(mode=0o711)
        data.chmod(0o711)
    if account is not None and (data / "postgres").exists():
        # An account that came to this machine since (Debian's postgres) must not take over the data of another.
        owner = (data / "postgres").stat()
        account = Account(owner.st_uid, owner.st_gid)
    return Place(folder=folder, base=base, data=data, secret=secret, account=account)


def outside_of(folder: Path) -> Path:
    """Return the directory that holds a folder's data when the servers' account cannot enter the folder."""
    roof = Path("/var/tmp")  # noqa: S108 - survives a reboot, unlike /tmp; owner and mode are checked below
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    return (roof if roof.is_dir() else Path(tempfile.gettempdir())) / f"scrm-embedded-{digest}"


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only this account can read."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def _secret(folder: Path) -> str:
    path = folder / "secret"
    if not path.exists():
        write_private(path, secrets.token_hex(16))
    return path.read_text().strip()


def _account(folder: Path) -> Account:
    owner = folder.stat()
    if owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedServersError(
        "PostgreSQL refuses to run as root, and there is no account `postgres` or `nobody` to run it under: "
        "start this as an ordinary user."
    )


def _can_enter(account: Account, path: Path) -> bool:
    """Return whether the account may go through every directory of a path, the last one included."""
    return all(_has_bits(account, directory, 0o1) for directory in (path.resolve(), *path.resolve().parents))


def _has_bits(account: Account, path: Path, bits: int) -> bool:
    found = path.stat()
    shift = 6 if found.st_uid == account.uid else 3 if found.st_gid == account.gid else 0
    return (stat.S_IMODE(found.st_mode) >> shift) & bits == bits


def _outside(folder: Path) -> Path:
    base = outside_of(folder)
    try:
        base.mkdir(mode=0o711)
        base.chmod(0o711)  # beyond what the umask took
    except FileExistsError:
        found = base.lstat()
        # Everybody may write into /var/tmp, so somebody else could have been here first.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise EmbeddedServersError(
                f"{base} is not a directory of this account: remove it, or set SCRM_LOCAL_DIR to another folder."
            ) from None
    return base
