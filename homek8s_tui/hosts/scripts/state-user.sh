# state NAME: a system user.
state() {
    if entry=$(getent passwd "$1"); then
        home=${entry%:*}
        NOW="present ${entry##*:} ${home##*:}"
    else
        NOW="absent"
    fi
}
