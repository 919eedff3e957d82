#!/usr/bin/env bash
# Gives each service of a root a user of its own, so that none can read what belongs to another.
#
#   own-users.sh prepare ROOT LOGS   behind `borealis-server init --root ROOT`, once and whenever keys were replaced
#   own-users.sh renew ROOT LOGS     makes certificates anew that end soon; the server runs on
#
# The users are borealis-nats, borealis-access, … and their group is borealis (borealis.sysusers makes them). Where there are
# no names, as in a container, BOREALIS_FIRST_ID counts: that id is the group's, and the ones behind it are the users'.
set -euo pipefail

HOLDERS=(nats access enrollment signing scheduler inventory library gateway)
SERVER=${BOREALIS_SERVER:-$(dirname "$0")/../../bin/borealis-server}

usage() {
    echo "usage: ${0##*/} prepare|renew ROOT LOGS" >&2
    exit 64
}

group() {
    echo "${BOREALIS_FIRST_ID:-borealis}"
}

user() {
    local index
    for index in "${!HOLDERS[@]}"; do
        [[ ${HOLDERS[index]} == "$1" ]] || continue
        if [[ -n ${BOREALIS_FIRST_ID:-} ]]; then
            echo $((BOREALIS_FIRST_ID + 1 + index))
        else
            echo "borealis-$1"
        fi
    done
}

# Others pass through what is above; each service owns its keys and its state, and nobody else may enter there.
own() {
    local holder state=$root/Server/State
    chmod 755 "$root" "$root/Certificates" "$root/Certificates/Server" "$root/Server"
    install -d -m 0755 "$state"
    for holder in "${HOLDERS[@]}"; do
        install -d -m 0700 "$state/$holder"
        chown -R "$(user "$holder"):$(group)" "$root/Certificates/Server/$holder" "$state/$holder"
    done
    # What the bus says of its ports is for the group; the setgid bit says that this is meant.
    chmod 2750 "$state/nats"
    touch "$state/lock"
    chown "$(user nats):$(group)" "$state/lock"
    chmod 600 "$state/lock"
    # Each service writes its own log; the sticky bit keeps it from the others'.
    install -d -m 3770 -g "$(group)" "$logs" "$logs/Server"
}

prepare() {
    own
    echo "Each service of $root has a user of its own."
}

renew() {
    "$SERVER" renew --root "$root" --logs "$logs"
    own
    # The gateway looks at its file by itself.
    if command -v systemctl > /dev/null && systemctl --quiet is-active borealis-nats.service 2> /dev/null; then
        systemctl reload borealis-nats.service
    fi
}

(($# == 3)) || usage
root=$(realpath -- "$2") logs=$3
[[ -f $root/Certificates/Server/trust.json ]] || {
    echo "${0##*/}: $root has no keys yet: borealis-server init --root $root makes them" >&2
    exit 66
}
case $1 in
    prepare) prepare ;;
    renew) renew ;;
    *) usage ;;
esac
