# state NAMES: whether packages (space separated) are installed, for whichever architecture.
state() {
    # shellcheck disable=SC2016,SC2086  # dpkg-query's own variables; names hold neither blanks nor wildcards
    told=$(dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' $1 2>/dev/null)
    for package in $1; do
        case "
$told" in
            *"
$package "?i*) NOW="$NOW $package=installed" ;;
            *) NOW="$NOW $package=absent" ;;
        esac
    done
    NOW=${NOW# }
}
