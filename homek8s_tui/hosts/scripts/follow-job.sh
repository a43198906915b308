# JOB UNIT OFFSET: prints a job's output from an offset on as "O <base64>." lines, and "E <status>" or "E lost".
job=/var/lib/homek8s/jobs/$1 unit=$2 offset=$3
[ -d "$job" ] || { echo "E lost"; exit 0; }
idle=0
while :; do
    # looked at before the output, so that the last words are not missed
    ended=no
    [ -e "$job/rc" ] && ended=yes
    size=$(stat -c %s "$job/out" 2>/dev/null || echo 0)
    while [ "$size" -gt "$offset" ]; do
        count=$((size - offset))
        [ "$count" -gt 32768 ] && count=32768
        printf 'O %s.\n' "$(tail -c "+$((offset + 1))" "$job/out" | head -c "$count" | encode)" || exit 0
        offset=$((offset + count))
        idle=0
    done
    if [ "$ended" = yes ]; then
        printf 'E %s\n' "$(cat "$job/rc")"
        exit 0
    fi
    if [ "$((idle % 10))" = 9 ]; then
        case $(systemctl show -p ActiveState --value -- "$unit") in
            active | activating | deactivating) ;;
            *) [ -e "$job/rc" ] || { echo "E lost"; exit 0; } ;;
        esac
        # also finds out that nobody listens any more
        printf 'K\n' || exit 0
    fi
    idle=$((idle + 1))
    sleep 0.1
done
