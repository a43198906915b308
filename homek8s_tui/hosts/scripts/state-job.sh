# state ID: whether a job was ever started.
state() {
    NOW=absent
    [ ! -d "/var/lib/homek8s/jobs/$1" ] || NOW=present
}
