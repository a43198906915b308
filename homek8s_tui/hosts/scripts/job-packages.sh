# ACTION PACKAGE...: installs or removes packages. A job: it outlives the connection.
action=$1
shift
export DEBIAN_FRONTEND=noninteractive
# a power cut may have left packages half configured
tries=24
until dpkg --configure -a; do
    # something else installs right now, or it is really broken
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || exit 1
    sleep 5
done
if [ "$action" = remove ]; then
    apt-get -q -y -o DPkg::Lock::Timeout=120 purge "$@"
else
    # by default `apt-get update` succeeds although a mirror is down
    apt-get -q -o APT::Update::Error-Mode=any -o DPkg::Lock::Timeout=120 update || exit 1
    apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confold install "$@"
fi
