# shellcheck shell=bash
# shellcheck disable=SC2154
# What run --keep kept on a board, copied to a folder here; again, it goes on where it stopped. Nothing is deleted there unless asked.
# To be sourced behind connection.sh; wants collect, from and clear.
quoted() { printf "'%s'" "${1//\'/\'\\\'\'}"; } # for a shell that may be dash

collect() {
    local found folder there as=rsync code=0 before
    local options=(-rts --blocking-io --exclude '.*') # blocking, for between rsync and ssh stands a cat
    command -v rsync > /dev/null || die "wanted rsync here, found none: apt install rsync"
    remote 'rsync --version > /dev/null 2>&1' || die "wanted rsync on $host, found none: scripts/provision $named --apply installs it"
    local ask=(kept.py ${from:+--folder "$(quoted "$from")"})
    found=$(board "${ask[@]}") || exit 1
    folder=${found%$'\n'*} there=${found##*$'\n'}
    if [ "$there" = unreadable ]; then # they are the service's user's alone
        remote 'sudo -n true' 2> /dev/null || die "wanted to read $folder on $host, its files are another user's: log in as the one whom the service runs as, or as one who may sudo without a password"
        as='sudo -n rsync'
    fi
    [ "$there" = unreadable ] || echo "$host keeps ${there% *} items in $folder, $((${there#* } >> 20)) MiB"
    mkdir -p "$collect" 2> "$work/told" || die "wanted to write to $collect, found: $(told): name another folder"
    before=$(items)
    [ -z "$clear" ] || options+=(--remove-source-files)
    rsh
    rsync "${options[@]}" --rsync-path "$as" -e "bash $private/rsh" "board:$folder/" "$collect/" 2> "$work/told" & # waited for, so that a signal is heeded at once
    wait $! || code=$?
    if [ "$code" != 0 ] && [ "$code" != 24 ]; then # 24: what gave way to others meanwhile
        if "${ssh[@]}" -O check -- "$host" 2> /dev/null; then die "wanted to copy from $host to $collect, found: $(told): cure that and collect again, it goes on where it stopped"; fi
        die "the copy from $host was cut short: collect again, it goes on where it stopped"
    fi
    echo "$(items) items in $collect, $(($(items) - before)) of them new: signwing review $(quoted "$collect")"
}
items() { find "$collect" -maxdepth 1 -name '[!.]*.json' | wc -l; }
