# state NAME WATCHED: whether a unit is enabled and active, and whether what it runs with (WATCHED: paths, space
# separated) is older than its last start or reload. An absent unit is a disabled, inactive one.
state() {
    load='' file='' active='' started='' reload_needed=''
    while IFS='=' read -r key value; do
        case $key in
            LoadState) load=$value ;;
            UnitFileState) file=$value ;;
            ActiveState) active=$value ;;
            ActiveEnterTimestamp) started=${value#@} ;;
            NeedDaemonReload) reload_needed=$value ;;
        esac
    done <<X
$(systemctl show --timestamp=unix -p LoadState -p UnitFileState -p ActiveState -p ActiveEnterTimestamp -p NeedDaemonReload -- "$1")
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
        for path in $2; do
            [ -e "$path" ] || continue
            changed=$(stat -c %Y -- "$path")
            [ "$changed" -le "${started:-0}" ] && continue
            # /run/homek8s/units/NAME is touched at each reload or start that we ask for
            # shellcheck disable=SC3013  # dash and every other sh of Debian have -nt
            [ -e "/run/homek8s/units/$1" ] && ! [ "$path" -nt "/run/homek8s/units/$1" ] && continue
            fresh=stale
        done
    fi
    NOW="$file $active $fresh"
    EXTRA="load=$load"
}
