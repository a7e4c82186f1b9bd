# shellcheck shell=bash
# shellcheck disable=SC2154
# What scripts/deploy, scripts/provision and scripts/measure share: one ssh connection to a board, told in one line if it fails.
# To be sourced; wants root (of the checkout), host, config and usage.
die() { echo "scripts/${0##*/}: $1" >&2; exit 1; }
[[ $host && $host != -* ]] || usage # ssh would take it for an option of its own, and those can run commands

work=$(realpath -- "$(mktemp -d)")
private=$(mktemp -d /tmp/signwing.XXXXXX) # not in TMPDIR: its name may be too long for a socket, or hold what ssh and rsync would take apart
ssh=(ssh "${config[@]}" -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3 -o RemoteCommand=none -o ClearAllForwardings=yes
    -o "ControlPath=$private/ssh")
named="$(printf '%q ' "${config[@]}")$host" # for a cure that is typed
[ ${#config[@]} -gt 0 ] || named=$host
mark="signwing-$$-$RANDOM"
finish() {
    "${ssh[@]}" -O exit -- "$host" 2> /dev/null || true
    rm -rf "$work" "$private"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

remote() { # a command line for the board's shell; what that shell says by itself first, as a .bashrc that prints does, is left out
    "${ssh[@]}" -- "$host" "printf '\n%s\n' $mark; $*" | {
        while IFS= read -r line && [ "$line" != "$mark" ]; do :; done
        exec cat
    }
}
told() { # what $work/told says of the reason, on one line
    { grep -m 1 -E '^(tar|rsync): ' "$work/told" || grep . "$work/told" || echo "no reason given"; } | tr -d '\r' | paste -sd ';' | tr -d '[:cntrl:]' | head -c 300
}

connect() {
    local code=0
    "${ssh[@]}" -o ControlMaster=yes -o ControlPersist=60 -- "$host" true 2> "$work/told" > /dev/null || code=$?
    if [ "$code" != 0 ] && [ "$code" != 255 ]; then # ssh itself has only 255
        die "wanted a shell on $host, it let us in and its shell ended with exit code $code ($(told)): look at that user's login shell and .bashrc"
    elif [ "$code" = 255 ]; then
        case $(cat "$work/told") in
            *IDENTIFICATION\ HAS\ CHANGED*) die "wanted $host with the key that is known, found another: if the board was flashed anew, ssh-keygen -R its name, else find out who answers" ;;
            *verification\ failed*) die "wanted a host key of $host that is known, found a new one: ssh $named once and compare it" ;;
            *Permission\ denied*) die "wanted to log in at $host, was not let in: ssh-copy-id $named" ;;
            *isconnect*) die "wanted to log in at $host, ssh says: $(told): cure that until ssh $named lets you in" ;;
            *onnect* | *esolve* | *route* | *reachable* | *timed\ out*) die "wanted to reach $host, found: $(told): is it on, and on this network?" ;;
            *) die "wanted to reach $host, ssh says: $(told): cure that until ssh $named lets you in" ;;
        esac
    fi
    remote 'command -v python3 > /dev/null' || die "wanted python3 on $host, found none: apt install python3"
    carry -C "$root/scripts/board" board.py board_setup.py kept.py releases.py -C ../../edge/board jetpack.py
}
carry() { # files, as tar takes them, to the kit on the board
    tar -cf - "$@" | remote 'umask 077; mkdir -p .cache/signwing/kit && tar -C .cache/signwing/kit -xf -' 2> "$work/told" \
        || die "wanted to write to the home folder on $host, found: $(told): cure that and call again"
}
modules() { # the Python files of a folder of the checkout, and nothing else that lies there, to the kit
    (cd "$root" && find "$1" -name '*.py' -type f -print0) > "$work/modules"
    carry -C "$root" --null -T "$work/modules"
}
rsh() { # the remote shell of rsync, which would read the host in its own way
    { declare -p ssh host mark && declare -f remote && echo "set -o pipefail; shift; remote \"\$@\""; } > "$private/rsh"
}
copy() { # a folder with SHA256SUMS to another in the board's home, going on where an earlier copy stopped; what lies there is believed by its hash alone
    remote "mkdir -p $2" 2> "$work/told" || cut_short
    if command -v rsync > /dev/null && remote 'rsync --version > /dev/null 2>&1'; then
        rsh
        rsync -a --checksum --partial -e "bash $private/rsh" "$1/" "board:$2/" 2> "$work/told" || cut_short
    else
        tar -C "$1" -cf - SHA256SUMS | remote "tar -C $2 -xf -" 2> "$work/told" || cut_short
        board board.py missing --upload "$2" > "$work/missing"
        tar -C "$1" --null --no-recursion -T "$work/missing" -cf - | remote "tar -C $2 -xf -" 2> "$work/told" || cut_short
    fi
}
cut_short() {
    if "${ssh[@]}" -O check -- "$host" 2> /dev/null; then die "wanted to copy to $host, found: $(told): cure that and deploy again, it goes on where it stopped"; fi
    die "the copy to $host was cut short: deploy again, it goes on where it stopped"
}
python='python3 -E -s' # neither PYTHONPATH nor ~/.local of who logs in
board() { remote "$python .cache/signwing/kit/$*"; }
as_root() { # a password is asked for by sudo itself, at the terminal
    if [ "$(remote id -u)" = 0 ]; then board "$@"
    elif remote 'sudo -n true' 2> /dev/null; then remote "sudo -n $python .cache/signwing/kit/$*"
    elif [ -t 0 ]; then "${ssh[@]}" -t -- "$host" "sudo $python .cache/signwing/kit/$*"
    else die "wanted root on $host, found a user without sudo: take one who may (or call this in a terminal, where sudo can ask for a password)"; fi
}
