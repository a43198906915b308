# state NAME WATCHED: whether a unit is enabled and active, and whether what it runs with (WATCHED: paths, space
# separated) is older than its last start or reload. An absent unit is a disabled, inactive one.
state() {
    load='' file='' active='' started='' reload_needed='' invocation=''
    while IFS='=' read -r key value; do
        case $key in
            LoadState) load=$value ;;
            UnitFileState) file=$value ;;
            ActiveState) active=$value ;;
            ActiveEnterTimestamp) started=$value ;;
            NeedDaemonReload) reload_needed=$value ;;
            InvocationID) invocation=$value ;;
        esac
    done <<X
$(systemctl show --timestamp=us+utc -p LoadState -p UnitFileState -p ActiveState -p ActiveEnterTimestamp -p NeedDaemonReload -p InvocationID -- "$1")
X
    case $file in
        enabled | enabled-runtime | static | generated | indirect | linked) file=enabled ;;
        masked | masked-runtime) file=masked ;;
        *) file=disabled ;;
    esac
    case $active in
        active | reloading) active=active ;;
        activating) active=activating ;;
        failed) active=failed ;;
        *) active=inactive ;;
    esac
    fresh=current
    if [ "$active" = active ]; then
        [ "$reload_needed" = yes ] && fresh=stale
        # /run/homek8s/units/NAME is touched at each start or reload that we ask for, and NAME.run says which run of
        # the unit that was; a run that somebody else started is known by its time, to the nanosecond: a file is
        # often written in the second in which a package started the unit
        stamp=/run/homek8s/units/$1 ours=no
        [ -e "$stamp" ] && { read -r run <"$stamp.run"; } 2>/dev/null && [ "$run" = "$invocation" ] && ours=yes
        [ "$ours" = yes ] || started=$(date -d "${started:-never}" +%s%N 2>/dev/null) || started=0
        for path in $2; do
            [ -e "$path" ] || continue
            if [ "$ours" = yes ]; then
                # shellcheck disable=SC3013  # dash and every other sh of Debian have -nt
                [ "$path" -nt "$stamp" ] && fresh=stale
            else
                changed=$(stat -c %.9Y -- "$path")
                [ "${changed%.*}${changed#*.}" -gt "$started" ] && fresh=stale
            fi
        done
    fi
    NOW="$file $active $fresh"
    EXTRA="load=$load"
}
