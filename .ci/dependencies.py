#!/usr/bin/env python3
"""Checks the licences of everything in Cargo.lock and ui/package-lock.json, banned crates, and second versions.

The rules stand in .config/dependencies.ini. Exit 1 names every offence.
"""

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / ".config" / "dependencies.ini"


def satisfied(expression, allowed):
    """Tells whether the allowed licences satisfy an SPDX expression; `/` is an old way to write OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def peek():
        return tokens[position] if position < len(tokens) else None

    def take():
        nonlocal position
        position += 1
        return tokens[position - 1]

    def term():
        if peek() == "(":
            take()
            value = either()
            if peek() != ")":
                raise ValueError(f"no closing bracket in {expression!r}")
            take()
            return value
        if peek() in (None, ")", "AND", "OR", "WITH"):
            raise ValueError(f"no licence where one is expected in {expression!r}")
        name = take()
        if peek() == "WITH":  # an exception only grants more
            take()
            take()
        return name in allowed

    def both():
        value = term()
        while peek() == "AND":
            take()
            value &= term()
        return value

    def either():
        value = both()
        while peek() == "OR":
            take()
            value |= both()
        return value

    value = either()
    if peek() is not None:
        raise ValueError(f"more than one expression in {expression!r}")
    return value


def licence_offences(packages, allowed, exceptions):
    """Yields a line for each (name, version, licence) that is not allowed."""
    for name, version, licence in packages:
        if licence is None:
            yield f"{name} {version} names no licence"
        elif not satisfied(licence, allowed) and not is_excepted(name, licence, exceptions):
            yield f"{name} {version} has the licence {licence}, which is not on the list"


def is_excepted(name, licence, exceptions):
    """An exception for a package serves its platform packages (`lightningcss-linux-x64-gnu`) too."""
    return any((name == known or name.startswith(known + "-")) and licence == its for known, its in exceptions.items())


def version_offences(packages, banned, single, seconds):
    """Yields a line for each banned crate and each unexpected second version."""
    versions = {}
    for name, version, _ in packages:
        versions.setdefault(name, set()).add(version)
    for name in sorted(banned & versions.keys()):
        yield f"{name} is banned"
    for name in sorted(single & versions.keys()):
        expected = seconds.get(name, [])
        surplus = [v for v in versions[name] if not any(v.startswith(second + ".") for second in expected)]
        if len(surplus) > 1:
            yield f"{name} is there in {len(surplus)} versions: {', '.join(sorted(surplus))}"
        for second in expected:
            if not any(v.startswith(second + ".") for v in versions[name]):
                yield f"{name} {second} is no longer there: remove it from {RULES.name}"


def crates():
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return [(package["name"], package["version"], package["license"]) for package in metadata["packages"]]


def npm_packages():
    lock = json.loads((ROOT / "ui" / "package-lock.json").read_text(encoding="utf-8"))
    return [
        ("npm:" + path.rpartition("node_modules/")[2], package.get("version"), package.get("license"))
        for path, package in lock["packages"].items()
        if path
    ]


def main():
    # Only "=" separates: a name may hold a colon.
    rules = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    rules.read(RULES, encoding="utf-8")
    rust, npm = crates(), npm_packages()
    offences = [
        *licence_offences(rust + npm, set(rules["licences"]["allow"].split()), dict(rules["licence exceptions"])),
        *version_offences(
            rust,
            set(rules["banned"]["crates"].split()),
            set(rules["one version"]["crates"].split()),
            {name: text.split() for name, text in rules["second versions"].items()},
        ),
    ]
    for offence in offences:
        print(f"dependencies: {offence}", file=sys.stderr)
    print(f"{len(rust)} crates and {len(npm)} npm packages checked, {len(offences)} offences")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
