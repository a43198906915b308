# state NAME: a system user.
state() {
    if entry=$(getent passwd "$1"); then
        NOW="present $(printf %s "$entry" | cut -d : -f 7) $(printf %s "$entry" | cut -d : -f 6)"
    else
        NOW="absent"
    fi
}
