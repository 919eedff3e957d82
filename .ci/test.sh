# The steps of `./Borealis.sh test`, sourced by it: every check there is, in order, ending at the first failure.
# shellcheck shell=bash

STEPS=()      # "<seconds> <name>" of what succeeded
STEP=''       # what runs now
STEP_BEGAN=0

step() { # NAME COMMAND…
    STEP=$1
    STEP_BEGAN=$SECONDS
    shift
    printf '\n'
    say "[$((${#STEPS[@]} + 1))] $STEP"
    "$@"
    STEPS+=("$((SECONDS - STEP_BEGAN)) $STEP")
    STEP=''
}

# Prints the table of what ran, however it ended.
summary() {
    local code=$? line
    printf '\n%8s  %s\n' seconds step
    for line in "${STEPS[@]}"; do
        printf '%8s  %s\n' "${line%% *}" "${line#* }"
    done
    if [[ -n $STEP ]]; then
        printf '%8s  %s: FAILED (exit %s)\n' "$((SECONDS - STEP_BEGAN))" "$STEP" "$code"
    fi
    printf 'steps: %s passed, %s failed\n' "${#STEPS[@]}" "$((code != 0))"
    exit "$code"
}

test_everything() {
    trap summary EXIT
    step 'machine: compiler, strace, Chromium, test runner' test_needs
    step 'fetch: pinned programs' fetch
    step 'checks of the tooling itself' tooling_tests
    step 'dependencies: licences, one copy of each cryptography crate' python3 .ci/dependencies.py
    step 'formatting' cargo fmt --all --check
    step 'web page: build' build_ui
    step 'web page: lint, types, unit tests' ui_checks
    step 'clippy, warnings are errors' cargo clippy --locked --workspace --all-targets -- -D warnings
    step 'unit and integration tests' cargo nextest run --locked --workspace --profile ci
    step 'release build' build_programs
    step 'release build: no fail points' no_fail_points
    step 'end to end in headless Chromium' npm --prefix ui run e2e
    step 'quickstart --once, with nothing to fetch or build' smoke
}

test_needs() {
    need_command python3 python3
    need_cargo
    need_c_compiler
    need_command strace strace
    need_command chromium chromium
    if ! cargo nextest --version >/dev/null 2>&1; then
        say "install cargo-nextest $NEXTEST_VERSION"
        cargo install --locked --version "$NEXTEST_VERSION" --root "$DEPENDENCIES/cargo-tools" cargo-nextest
    fi
}

tooling_tests() {
    bash -n Borealis.sh .ci/test.sh
    python3 -m unittest discover deploy -p '*_test.py'
    python3 -m unittest discover .ci -p '*_test.py'
}

# What tests are built with can be killed at named points, what people run cannot.
no_fail_points() {
    local program marker=BOREALIS_FAIL_POINTS
    for program in borealis-server borealis-agent; do
        grep -q "$marker" "target/debug/$program" || stop 1 "the search for $marker finds nothing in target/debug/$program"
    done
    for program in borealis-server borealis borealis-agent; do
        [ -f "$BINARIES/$program" ] || stop 1 "$BINARIES/$program is missing"
        if grep -q "$marker" "$BINARIES/$program"; then
            stop 1 "$BINARIES/$program holds fail points"
        fi
    done
}

ui_checks() {
    PATH=$(node_path):$PATH
    npm_ci
    npm --prefix ui run lint
    npm --prefix ui run typecheck
    npm --prefix ui run test
}

# A second start: every tool that could fetch or build is replaced by one that fails.
smoke() {
    local scratch tool
    scratch=$(mktemp -d)
    mkdir "$scratch/bin"
    for tool in cargo rustc npm node pip curl apt-get; do
        printf '#!/bin/sh\necho "a second start called %s" >&2\nexit 99\n' "$tool" >"$scratch/bin/$tool"
        chmod +x "$scratch/bin/$tool"
    done
    PATH=$scratch/bin:$PATH timeout --kill-after=15 180 \
        bash ./Borealis.sh quickstart --once --root "$scratch/root" --listen 127.0.0.1:0 --nats-listen 127.0.0.1:0
    rm -r "$scratch"
}
