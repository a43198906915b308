# state NAMES: whether packages (space separated) are installed.
state() {
    for package in $1; do
        case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) in
            ?i*) NOW="$NOW $package=installed" ;;
            *) NOW="$NOW $package=absent" ;;
        esac
    done
    NOW=${NOW# }
}
