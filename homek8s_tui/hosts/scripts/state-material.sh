# state FOLDER RUN: whether anything is left in the folder that we keep on a machine. With a RUN what is kept for the undo
# of other runs does not count.
state() {
    NOW=absent
    if [ -z "${2:-}" ]; then
        [ ! -e "$1" ] || NOW=present
    elif [ -e "$1/undo/$2" ] || [ -e "$1/jobs" ]; then
        NOW=present
    fi
}
