#!/usr/bin/env bash
# Borealis: the start of everything. `./Borealis.sh --help` lists what it does.
#
# Exit codes: 64 usage, 65 a fetched program has the wrong digest, 69 something is missing (named in one line with the
# command that installs it); otherwise that of the program that was started.
set -euo pipefail

CALLED_FROM=$PWD
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cd "$HERE"

DEPENDENCIES=$HERE/Dependencies
BINARIES=$HERE/target/release
NEXTEST_VERSION=0.9.143
RUST_VERSION=1.95

# What the programs and tests that are started here need to know.
export BOREALIS_DEPENDENCIES=$DEPENDENCIES
export CARGO_TARGET_DIR=$HERE/target
export PYTHONDONTWRITEBYTECODE=1
export npm_config_update_notifier=false
# A connection that breaks once is no reason to begin anew.
export npm_config_fetch_retries=6 CARGO_NET_RETRY=6 PIP_RETRIES=6
export PATH=$DEPENDENCIES/cargo-tools/bin:$PATH

usage() {
    cat <<'TEXT'
Usage: ./Borealis.sh COMMAND

  quickstart [--once] [--root DIR] [--listen ADDR] [--nats-listen ADDR] [--public-name NAME]…
             fetch and build what is missing, start everything, enrol this machine, run a first signed script on it,
             and go on running until Ctrl-C (--once: stop after the script and exit with its code)
  server     [the options of `borealis-server up`]    all services, supervised, in the foreground
  agent launch --server-url URL --installer-code CODE [--root DIR] [--context SYSTEM|CURRENTUSER]
             an agent in the foreground; CODE may be @FILE, or stand in BOREALIS_INSTALLER_CODE
  build      fetch and build only: the programs are in target/release/
  fetch      only fetch the pinned programs into Dependencies/
  test       every check there is, as continuous integration runs it

Without --root everything is kept in Runtime/ and the logs in Logs/; with it, all below that folder.
TEXT
}

say() { printf '==> %s\n' "$*"; }

stop() { # CODE TEXT…
    local code=$1
    shift
    printf 'Borealis: %s\n' "$*" >&2
    exit "$code"
}

# --- what the machine must have ---------------------------------------------------------------------------------------

is_debian() { grep -qsE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release; }

# Installs Debian packages as root, else names what is missing in one line.
install_packages() { # WHAT PACKAGE…
    local what=$1
    shift
    if ! is_debian; then
        stop 69 "$what is missing: install it (on Debian: apt-get install $*)"
    elif ((EUID != 0)); then
        stop 69 "$what is missing: sudo apt-get install -y $*"
    fi
    say "install $what (apt-get install $*)"
    apt_install "$@" || { apt-get update -q && apt_install "$@"; } ||
        stop 69 "$what is missing and could not be installed: apt-get install -y $*"
}

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$@" </dev/null; }

need_command() { # COMMAND PACKAGE…
    command -v "$1" >/dev/null || install_packages "$@"
}

need_pip() { python3 -m pip --version >/dev/null 2>&1 || install_packages pip python3-pip; }

need_c_compiler() {
    printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' |
        cc -x c -o /dev/null - 2>/dev/null || install_packages 'a C compiler' gcc libc6-dev
}

need_cargo() {
    local rust='https://rustup.rs (curl --proto =https -sSf https://sh.rustup.rs | sh -s -- -y)' version
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || stop 69 "cargo is missing: install Rust $RUST_VERSION or newer from $rust"
    version=$(cargo --version | cut -d ' ' -f 2)
    printf '%s\n%s\n' "$RUST_VERSION" "$version" | sort -CV ||
        stop 69 "cargo is $version, but Rust $RUST_VERSION or newer is needed: rustup update stable, or $rust"
}

# --- fetch and build --------------------------------------------------------------------------------------------------

payloads() { python3 deploy/payloads.py "$@"; }

fetch() {
    need_command python3 python3
    if payloads needs-network "$DEPENDENCIES" 2>/dev/null; then
        need_pip
    fi
    payloads fetch "$DEPENDENCIES"
}

node_path() { printf '%s/bin' "$(payloads path "$DEPENDENCIES" node)"; }

# Prints one digest over the names and contents of all files below the given paths.
digest_of() { # PATH…
    find "$@" \( -name node_modules -o -name dist -o -name tests -o -name benches \) -prune -o -type f -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

is_stamped() { [[ -f $1 && $(<"$1") == "$2" ]]; } # STAMP DIGEST

ui_digest() { digest_of ui/src ui/public ui/*.*; }

npm_ci() {
    local stamp=ui/node_modules/.borealis-stamp digest
    digest=$(digest_of ui/package-lock.json)
    is_stamped "$stamp" "$digest" && return
    say 'install the packages of the web page'
    npm --prefix ui ci --ignore-scripts --no-audit --no-fund
    printf '%s' "$digest" >"$stamp"
}

build_ui() {
    local stamp=$DEPENDENCIES/.ui-stamp digest
    digest=$(ui_digest)
    [[ -f ui/dist/index.html ]] && is_stamped "$stamp" "$digest" && return
    PATH=$(node_path):$PATH
    npm_ci
    say 'build the web page'
    npm --prefix ui run build
    printf '%s' "$digest" >"$stamp"
}

build_programs() {
    local stamp=$BINARIES/.borealis-stamp digest
    digest=$(digest_of Cargo.toml Cargo.lock agent bus-schema services deploy; digest_of ui/dist/*)
    [[ -x $BINARIES/borealis-server && -x $BINARIES/borealis && -x $BINARIES/borealis-agent ]] &&
        is_stamped "$stamp" "$digest" && return
    need_cargo
    need_c_compiler
    say 'build Borealis (the first time takes some minutes)'
    # The packages are named so that nothing is asked for that only tests need.
    cargo build --release --locked -p borealis-server -p borealis -p borealis-agent --bins
    printf '%s' "$digest" >"$stamp"
}

build() {
    if [[ ! -f $BINARIES/.borealis-stamp ]]; then
        # Named before a minute is spent on the page.
        need_cargo
        need_c_compiler
    fi
    fetch
    build_ui
    build_programs
}

# --- run --------------------------------------------------------------------------------------------------------------

# Sorts the caller's options into PLACE (root and logs, as absolute paths) and REST.
place_options() {
    local root='' logs=''
    REST=()
    while (($#)); do
        case $1 in
            --root | --logs) (($# > 1)) || stop 64 "$1 needs a folder" ;;&
            --root) root=$2 && shift ;;
            --root=*) root=${1#*=} ;;
            --logs) logs=$2 && shift ;;
            --logs=*) logs=${1#*=} ;;
            *) REST+=("$1") ;;
        esac
        shift
    done
    if [[ -z $root ]]; then
        root=$HERE/Runtime
        logs=${logs:-$HERE/Logs}
    fi
    root=$(absolute "$root")
    PLACE=(--root "$root" --logs "$(absolute "${logs:-$root/Logs}")")
}

absolute() { (cd "$CALLED_FROM" && realpath -m -- "$1"); }

start_server() { # SUB-COMMAND OPTION…
    local command=$1
    shift
    place_options "$@"
    build
    exec "$BINARIES/borealis-server" "$command" "${PLACE[@]}" "${REST[@]}"
}

agent() {
    local action=${1:-}
    case $action in
        launch) shift ;;
        install | repair | remove) stop 64 "agent $action is not there yet; agent launch runs one in the foreground" ;;
        *) stop 64 'agent what? agent launch runs one in the foreground (see --help)' ;;
    esac
    place_options "$@"
    code_to_environment "${REST[@]}"
    build
    exec "$BINARIES/borealis-agent" run "${PLACE[@]}" "${REST[@]}"
}

# Moves an installer code from the options to the environment: other users can read a program's arguments.
code_to_environment() {
    REST=()
    while (($#)); do
        case $1 in
            --installer-code)
                (($# > 1)) || stop 64 "$1 needs a code"
                export BOREALIS_INSTALLER_CODE=$2
                shift
                ;;
            --installer-code=*) export BOREALIS_INSTALLER_CODE=${1#*=} ;;
            *) REST+=("$1") ;;
        esac
        shift
    done
}

case ${1:-} in
    quickstart) start_server "$@" ;;
    server) start_server up "${@:2}" ;;
    agent) agent "${@:2}" ;;
    build) build ;;
    fetch) fetch ;;
    test)
        # shellcheck source=.ci/test.sh
        source .ci/test.sh
        test_everything
        ;;
    -h | --help | help) usage ;;
    *)
        usage >&2
        exit 64
        ;;
esac
