# Recipes for people who work on Borealis. `just` itself is in Dependencies/ after `./Borealis.sh fetch`.
# Users need only ./Borealis.sh.

set positional-arguments
set shell := ["bash", "-euo", "pipefail", "-c"]

export BOREALIS_DEPENDENCIES := justfile_directory() / "Dependencies"
node := `python3 deploy/payloads.py path Dependencies node` / "bin"
place := "--root " + quote(justfile_directory() / "Runtime") + " --logs " + quote(justfile_directory() / "Logs")

# lists the recipes
default:
    @just --list --unsorted

# formatting and clippy
check:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings

# everything, as continuous integration runs it
test:
    ./Borealis.sh test

# the tests of one crate: `just it access`, `just it agent`, `just it bus-schema`; more arguments go to nextest
it crate *args:
    {{ if crate == "server" { "cargo build --locked --workspace --bins" } else { "" } }}
    cargo nextest run --locked -p "$(test "$1" = cli && echo borealis || echo "borealis-$1")" "${@:2}"

# one world of the simulation, told line by line: `just sim 41`; `just test` runs a thousand of them
sim seed:
    BOREALIS_SIM_SEED={{ quote(seed) }} cargo nextest run --locked -p borealis-server --test sim --no-capture one_seed_is_shown

# kills of services, bus and agents while clients ask for jobs: 300 at random and 50 at each named crash point unless told
# otherwise; a bus that is killed every 20 s, thirty times, and is away for five minutes; a bad network; and a thousand simulated
# worlds with their deaths by crash point; prints the tables. Some hours; `just test` does the same with smaller numbers. A
# failure names its seed: `just chaos 300 SEED` kills the same in the same order.
chaos kills="300" seed="" point_kills="50":
    cargo build --locked --workspace --bins
    {{ if seed == "" { "" } else { "BOREALIS_CHAOS_SEED=" + quote(seed) } }} BOREALIS_CHAOS_KILLS={{ quote(kills) }} BOREALIS_CHAOS_POINT_KILLS={{ quote(point_kills) }} \
        BOREALIS_CHAOS_BUS_KILLS=30 BOREALIS_CHAOS_OUTAGE_S=300 \
        cargo nextest run --locked -p borealis-server --profile soak --no-fail-fast --no-capture \
        -E 'test(kills_at_random) | test(kills_at_points) | test(outages_of_the_bus) | test(a_bad_network) | test(every_law_holds)'

# power cuts of a store on a loop device, 100 unless told otherwise, some three seconds each; takes root
powercut cuts="100":
    BOREALIS_POWER_CUTS={{ quote(cuts) }} cargo nextest run --locked -p borealis-event-store --profile soak --no-capture -E 'test(power_cuts)'

# the long tests of trust, some ten minutes: 100,000 tokens judged on a busy machine, a taken-over bus that storms for five
# minutes. `just test` runs the same tests with smaller numbers; BOREALIS_SOAK=1 is what makes them long.
trust-soak *args:
    cargo build --locked --workspace --bins
    BOREALIS_SOAK=1 cargo nextest run --locked --workspace --profile soak -E 'test(soak)' "$@"

# schedules in every zone against an oracle that reads each minute of ten years, some half an hour; `just test` reads fewer
cron-oracle:
    BOREALIS_ORACLE=full cargo nextest run --locked -p borealis-calendar --test oracle --no-capture

# a benchmark in a release build: store, dispatch, echo, fanout10k, outage, footprint, schedules, trust; ends with one line of JSON
bench name *size:
    #!/usr/bin/env bash
    set -euo pipefail
    name=$1; shift
    case $name in
        store) crate=borealis-event-store ;;
        *) crate=borealis-server ;;
    esac
    cargo build --release --locked -p borealis-server -p borealis -p borealis-agent --bins
    cargo bench --locked -p "$crate" --bench "$name" -- "$@"

# adds golden files that are missing; never changes one that is there
gen:
    BOREALIS_GEN=1 cargo nextest run --locked --workspace -E 'test(golden)'

# fetches what is missing and builds the programs
build:
    ./Borealis.sh build

# nats-server and every service, supervised
up *args: build
    exec target/release/borealis-server up {{ place }} "$@"

# nats-server alone
nats *args: (service "nats" args)

access *args: (service "access" args)

enrollment *args: (service "enrollment" args)

signing *args: (service "signing" args)

scheduler *args: (service "scheduler" args)

inventory *args: (service "inventory" args)

library *args: (service "library" args)

gateway *args: (service "gateway" args)

# one service alone in the foreground; it waits for the bus where there is none
[private]
service name *args: build
    exec target/release/borealis-server {{ name }} {{ place }} {{ args }}

# an agent in the foreground: just agent --server-url https://HOST:5000 (code in BOREALIS_INSTALLER_CODE)
agent *args: build
    exec target/release/borealis-agent run {{ place }} "$@"

# simulated devices: just simulate --devices 100 …
simulate *args: build
    exec target/release/borealis-agent simulate "$@"

# the web page's development server
ui:
    PATH={{ quote(node) }}:$PATH npm --prefix ui run dev

# every route with the right it needs, as JSON lines
routes: build
    target/release/borealis-server routes --json

# the lists of what may be depended on
dependencies:
    python3 .ci/dependencies.py
