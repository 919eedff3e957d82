"""Tests of dependencies.py."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import dependencies  # noqa: E402


class SatisfiedTest(unittest.TestCase):
    def test_expressions(self):
        allowed = {"MIT", "Apache-2.0", "ISC"}
        for expression in (
            "MIT",
            "MIT OR GPL-3.0-only",
            "GPL-3.0-only/MIT",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            "(MIT OR GPL-3.0-only) AND ISC",
        ):
            self.assertTrue(dependencies.satisfied(expression, allowed), expression)
        for expression in ("GPL-3.0-only", "MIT AND GPL-3.0-only", "(MIT OR ISC) AND GPL-3.0-only"):
            self.assertFalse(dependencies.satisfied(expression, allowed), expression)

    def test_what_is_no_expression_is_named(self):
        for expression in ("", "MIT MIT", "(MIT", "MIT OR", "SEE LICENSE IN LICENSE"):
            with self.assertRaises(ValueError):
                dependencies.satisfied(expression, {"MIT", "SEE"})


class OffencesTest(unittest.TestCase):
    def test_licences(self):
        packages = [("a", "1", "MIT"), ("b", "1", "GPL-3.0-only"), ("c", "1", None), ("d-linux", "1", "MPL-2.0")]
        offences = list(dependencies.licence_offences(packages, {"MIT"}, {"d": "MPL-2.0"}))
        self.assertEqual(len(offences), 2, offences)
        self.assertIn("b 1 has the licence GPL-3.0-only", offences[0])
        self.assertIn("c 1 names no licence", offences[1])

    def test_versions(self):
        packages = [("openssl", "1.0.0", None), ("ring", "0.16.1", None), ("ring", "0.17.1", None)]
        packages += [("sha2", "0.10.9", None), ("sha2", "0.9.9", None), ("other", "1.0.0", None), ("other", "2.0.0", None)]
        check = dependencies.version_offences
        self.assertEqual(
            list(check(packages, {"openssl"}, {"ring", "sha2"}, {"sha2": ["0.9"]})),
            ["openssl is banned", "ring is there in 2 versions: 0.16.1, 0.17.1"],
        )
        self.assertEqual(
            list(check(packages, set(), {"sha2"}, {"sha2": ["0.9", "0.11"]})),
            ["sha2 0.11 is no longer there: remove it from dependencies.ini"],
        )


if __name__ == "__main__":
    unittest.main()
