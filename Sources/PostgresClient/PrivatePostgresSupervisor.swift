// The life of a private PostgreSQL, as a POSIX shell script: find the programs, make the folder, start the server, wait for the end of standard input, clear up.
//
// - setpriv changes the user without staying in between, so $! is the server itself; and it asks for SIGQUIT when this shell dies.
// - `lives` asks for our own folder in the command line of the process: neither a zombie nor a stranger with the same number passes.
// - SIGCONT follows SIGQUIT for a server that a test has paused. SIGKILL follows if that did not help; ipcrm then frees the one segment of System V shared
//   memory that a killed server leaves (its number is in postmaster.pid, which a server that stops by itself removes).

let supervisorScript = #"""
    parent=$1 user=$2
    shift 2
    PATH=$PATH:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
    folder= server=

    say() { echo "$*"; exit 1; }

    lives() { [ -n "$server" ] && grep -qF "$folder/data" "/proc/$server/cmdline" 2>/dev/null; }

    gone() {  # within $1 tenths of a second?
        n=$1
        while lives; do
            [ "$n" -gt 0 ] || return 1
            n=$((n - 1))
            sleep 0.1
        done
    }

    clear_up() {
        trap '' INT HUP TERM
        if lives; then
            kill -QUIT "$server"
            kill -CONT "$server"
            gone 80 || { kill -KILL "$server"; gone 20; }
        fi
        [ -n "$folder" ] || return
        segment=$(sed -n '7s/.* //p' "$folder/data/postmaster.pid" 2>/dev/null)
        [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
        n=50
        until rm -rf "$folder" 2>/dev/null || [ "$n" -eq 0 ]; do
            n=$((n - 1))
            sleep 0.1
        done
    }
    trap '' PIPE  # nobody may be left to read what we say
    trap clear_up EXIT
    trap 'exit 1' INT HUP TERM

    bin=
    newest=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV)
    IFS='
    '
    for candidate in $(echo "$PATH" | tr : '\n') $(pg_config --bindir 2>/dev/null) $newest; do
        if [ -z "$bin" ] && [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ]; then bin=$candidate; fi
    done
    unset IFS
    [ -n "$bin" ] || say "no PostgreSQL server on this machine (initdb and postgres); install it: apt-get install postgresql"
    if [ -n "$user" ]; then
        id "$user" >/dev/null 2>&1 || say "PostgreSQL does not run as root, and there is no user $user; install it with: apt-get install postgresql"
    fi

    umask 077
    folder=$(mktemp -d "${parent%/}/freshet-pg.XXXXXXXX") || say "cannot make a folder in $parent"
    set -- "$bin/postgres" -D "$folder/data" -k "$folder" "$@"
    as_user() { exec setpriv --pdeathsig QUIT "$@"; }
    if [ -n "$user" ]; then
        chown "$user" "$folder" || say "cannot give $folder to the user $user"
        as_user() { exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups --pdeathsig QUIT "$@"; }
    fi
    cd "$folder" || say "cannot enter $folder"

    (as_user "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions) >log 2>&1 </dev/null ||
        say "initdb failed: $(tail -n 5 log)"
    as_user "$@" >>log 2>&1 </dev/null &
    server=$!
    n=1500
    until [ "$(sed -n '8s/ *$//p' data/postmaster.pid 2>/dev/null)" = ready ]; do
        n=$((n - 1))
        if [ "$n" -eq 0 ] || ! kill -0 "$server" 2>/dev/null; then say "the server does not start: $(tail -n 5 log)"; fi
        sleep 0.02
    done
    printf 'ready\t%s\t%s\n' "$server" "$folder"
    while read -r _; do :; done
    """#
