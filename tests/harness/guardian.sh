# The guardian of one test process: it reads what the test process has started, and when the pipe
# closes, which is when that process is gone (exit, panic, SIGKILL alike), it stops and removes what
# is left. POSIX sh only: it runs on Linux and macOS.
#
#   pid N        stop with TERM
#   postgres N   stop with QUIT: an immediate shutdown, which takes the backends along
#   gone N       reaped: the number may belong to someone else from now on
#   dir PATH     remove

# The terminal's Ctrl-C is meant for the tests; the guardian has its work still before it.
trap '' HUP INT TERM

# Numbers in two lists, paths as arguments, for they may contain spaces.
pids='' postgres=''
set --

without() { # NUMBER LIST...
    gone=$1 && shift
    for number in "$@"; do
        [ "$number" = "$gone" ] || printf '%s ' "$number"
    done
}

alive() {
    for number in $pids $postgres; do
        kill -0 "$number" 2>/dev/null || continue
        # A zombie whose new parent takes its time has ended all the same.
        state=''
        [ ! -r "/proc/$number/stat" ] || read -r state <"/proc/$number/stat"
        case $state in *') Z '*) ;; *) printf '%s ' "$number" ;; esac
    done
}

while read -r kind value; do
    case $kind in
    pid) pids="$pids $value" ;;
    postgres) postgres="$postgres $value" ;;
    gone)
        # shellcheck disable=SC2086
        pids=$(without "$value" $pids) postgres=$(without "$value" $postgres)
        ;;
    dir) set -- "$@" "$value" ;;
    esac
done

for number in $pids; do
    kill -s TERM "$number" 2>/dev/null
    # One that a test has frozen would not see the TERM.
    kill -s CONT "$number" 2>/dev/null
done
for number in $postgres; do
    kill -s QUIT "$number" 2>/dev/null
done

# Two seconds to comply.
turn=0
while [ "$turn" -lt 40 ] && [ -n "$(alive)" ]; do
    sleep 0.05
    turn=$((turn + 1))
done
for number in $(alive); do
    kill -s KILL "$number" 2>/dev/null
done

# A killed server's children may write for another moment.
[ "$#" -eq 0 ] || rm -rf -- "$@" 2>/dev/null || { sleep 1 && rm -rf -- "$@"; }
