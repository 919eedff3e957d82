"""What Borealis.sh says when something is missing, on a machine that has next to nothing."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# What every Debian has, and the script may use before it looks for anything.
BASE = ("readlink", "dirname", "cut", "sort", "realpath", "cat", "grep")


class MissingTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        shutil.copy(REPOSITORY / "Borealis.sh", self.folder)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for tool in BASE:
            (self.bin / tool).symlink_to(shutil.which(tool))
        # As root the script would install what is missing.
        self.have("apt-get", "exit 100")

    def have(self, tool, script):
        path = self.bin / tool
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run_it(self, *args):
        environment = {"PATH": str(self.bin), "HOME": str(self.folder)}
        return subprocess.run(
            [shutil.which("bash"), str(self.folder / "Borealis.sh"), *args],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def assert_missing(self, text, *args):
        ended = self.run_it(*args)
        self.assertEqual(ended.returncode, 69, ended)
        lines = ended.stderr.splitlines()
        self.assertEqual(len(lines), 1, ended)
        self.assertIn(f"Borealis: {text}", lines[0])

    def test_every_start_says_in_one_line_that_cargo_is_missing(self):
        for args in (
            ["build"],
            ["quickstart", "--once"],
            ["server"],
            ["agent", "launch", "--server-url", "https://localhost:5000"],
        ):
            with self.subTest(args):
                self.assert_missing("cargo is missing: install Rust", *args)

    def test_each_other_thing_is_named_in_its_turn(self):
        self.have("cargo", "echo cargo 1.60.0")
        self.assert_missing("cargo is 1.60.0, but Rust 1.95 or newer is needed", "build")
        self.have("cargo", "echo cargo 1.95.0")
        self.assert_missing("a C compiler is missing", "build")
        self.have("cc", "exit 1")
        self.assert_missing("a C compiler is missing", "build")
        self.have("cc", "cat >/dev/null")
        self.assert_missing("python3 is missing", "build")
        # No network is needed for what is there; pip only for what is not.
        (self.folder / "deploy").mkdir()
        self.have("python3", 'case "$*" in *needs-network*) exit 0 ;; *) exit 1 ;; esac')
        self.assert_missing("pip is missing", "build")


if __name__ == "__main__":
    unittest.main()
