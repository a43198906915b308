# state NAME: whether the API server of this machine knows a node of that name; unknown if it does not answer.
state() {
    if ! command -v k3s >/dev/null; then
        NOW=absent
    # addressed directly, kubectl asks once, and keeps nothing of what it learnt
    elif words=$(k3s kubectl get --raw "/api/v1/nodes/$1" --request-timeout=10s 2>&1); then
        NOW=present
    else
        case $words in
            *NotFound*) NOW=absent ;;
            *) NOW=unknown ;;
        esac
    fi
}
