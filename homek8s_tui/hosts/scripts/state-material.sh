# state PATH: whether the folder that we keep on a machine is there.
state() {
    NOW=absent
    [ ! -e "$1" ] || NOW=present
}
