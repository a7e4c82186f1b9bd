# shellcheck shell=bash
# shellcheck disable=SC2154
# What scripts/deploy and scripts/provision share: one ssh connection to a board, told in one line if it fails. To be sourced; wants host and config.
die() { echo "scripts/${0##*/}: $1" >&2; exit 1; }

work=$(mktemp -d)
ssh=(ssh "${config[@]}" -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3 -o "ControlPath=$work/ssh")
finish() {
    "${ssh[@]}" -O exit "$host" 2> /dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

connect() {
    if ! "${ssh[@]}" -o ControlMaster=yes -o ControlPersist=60 "$host" true 2> "$work/told" > /dev/null; then
        case $(cat "$work/told") in
            *IDENTIFICATION\ HAS\ CHANGED*) die "wanted $host with the key that is known, found another: if the board was flashed anew, ssh-keygen -R its name, else find out who answers" ;;
            *verification\ failed*) die "wanted a host key of $host that is known, found a new one: ssh $host once and compare it" ;;
            *Permission\ denied*) die "wanted to log in at $host, was not let in: ssh-copy-id $host" ;;
            *) die "wanted to reach $host, found: $(tail -1 "$work/told" | tr -d '\r'): is it on, and on this network?" ;;
        esac
    fi
    "${ssh[@]}" "$host" 'command -v python3 > /dev/null' || die "wanted python3 on $host, found none: apt install python3"
    carry -C scripts/board board.py board_setup.py releases.py -C ../../edge/board jetpack.py
}
carry() { # files, as tar takes them, to the kit on the board
    tar -cf - --exclude=__pycache__ "$@" | "${ssh[@]}" "$host" 'umask 077; mkdir -p .cache/signwing/kit && tar -C .cache/signwing/kit -xf -' \
        || die "wanted to write to the home folder on $host, could not: is its disk full?"
}
board() { "${ssh[@]}" "$host" "python3 .cache/signwing/kit/$*"; }
as_root() { # a password is asked for by sudo itself, at the terminal
    if [ "$("${ssh[@]}" "$host" id -u)" = 0 ]; then board "$@"
    elif "${ssh[@]}" "$host" 'sudo -n true' 2> /dev/null; then "${ssh[@]}" "$host" "sudo -n python3 .cache/signwing/kit/$*"
    elif [ -t 0 ]; then "${ssh[@]}" -t "$host" "sudo python3 .cache/signwing/kit/$*"
    else die "wanted root on $host, found a user without sudo: take one who may (or call this in a terminal, where sudo can ask for a password)"; fi
}
