# JOB UNIT, with the state arguments behind them; the job's script is the payload, its input SECRETS.
# Making the job's folder is the token: whoever makes it starts the job, everybody else attaches to it.
JOB=/var/lib/homek8s/jobs/$1 UNIT=$2
shift 2
mkdir -p /var/lib/homek8s/jobs || fail "/var/lib/homek8s can't be written"
if [ -d "$JOB" ]; then
    NOW='' OUTPUTS=''
    report attached
    exit 0
fi
compare "$@"
mkdir -m 700 /run/homek8s "/run/homek8s/$UNIT" 2>/dev/null
printf %s "$SECRETS" | base64 -d >"/run/homek8s/$UNIT/in" || fail "the job's input can't be written to /run"
mkdir -m 700 "$JOB.new" 2>/dev/null
if printf %s "$PAYLOAD" | base64 -d >"$JOB.new/script" && cat >"$JOB.new/run" <<X; then
sh $JOB/script <"/run/homek8s/$UNIT/in" >>$JOB/out 2>&1
status=\$?
rm -rf "/run/homek8s/$UNIT"
printf '%s\n' "\$status" >$JOB/rc.new && sync $JOB/rc.new && mv $JOB/rc.new $JOB/rc
X
    : >"$JOB.new/out"
    sync "$JOB.new/script" "$JOB.new/run"
else
    rm -rf "$JOB.new" "/run/homek8s/$UNIT"
    fail "the job can't be written to /var/lib/homek8s; is the disk full?"
fi
# renaming a folder onto one that has something in it fails: at most one starter
mv -T -- "$JOB.new" "$JOB" || fail "the job $1 was just started by somebody else"
# after a power cut the token must still be there if the job ever ran
sync /var/lib/homek8s/jobs
systemd-run -q --no-block --collect --unit="$UNIT" --property=Type=exec /bin/sh "$JOB/run" || {
    rm -rf "$JOB" "/run/homek8s/$UNIT"
    fail "systemd would not start the job"
}
report started
