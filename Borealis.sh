#!/usr/bin/env bash
# Borealis: the start of everything. `./Borealis.sh --help` lists what it does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf '==> %s\n' "$*"; }

test_everything() {
    say 'formatting'
    cargo fmt --check
    say 'clippy'
    cargo clippy --locked --workspace --all-targets -- -D warnings
    say 'unit and integration tests'
    cargo nextest run --locked --workspace --profile ci --no-tests=warn
}

case "${1:-}" in
    test) test_everything ;;
    *) printf 'usage: ./Borealis.sh test\n' >&2; exit 64 ;;
esac
