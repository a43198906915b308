# JOB UNIT, with the state arguments behind them; the job's script is the payload, its input SECRETS.
# Making the job's folder is the token: whoever makes it starts the job, everybody else attaches to it.
job=/var/lib/homek8s/jobs/$1 unit=$2
shift 2
mkdir -p -m 700 /var/lib/homek8s /var/lib/homek8s/jobs || fail "/var/lib/homek8s can't be written"
if [ -d "$job" ]; then
    NOW='' OUTPUTS=''
    report attached
    exit 0
fi
compare "$@"
mkdir -m 700 /run/homek8s "/run/homek8s/$unit" 2>/dev/null
printf %s "$SECRETS" | base64 -d >"/run/homek8s/$unit/in" || fail "the job's input can't be written to /run"
mkdir -m 700 "$job.new" 2>/dev/null
if printf %s "$PAYLOAD" | base64 -d >"$job.new/script" && cat >"$job.new/run" <<X; then
sh $job/script <"/run/homek8s/$unit/in" >>$job/out 2>&1
status=\$?
rm -rf "/run/homek8s/$unit"
printf '%s\n' "\$status" >$job/rc.new && sync $job/rc.new && mv $job/rc.new $job/rc
X
    : >"$job.new/out"
    sync "$job.new/script" "$job.new/run"
else
    rm -rf "$job.new"
    fail "the job can't be written to /var/lib/homek8s; is the disk full?"
fi
# renaming a folder onto one that exists fails: at most one starter
mv -T -- "$job.new" "$job" || fail "the job $1 was just started by somebody else"
systemd-run -q --no-block --collect --unit="$unit" --property=Type=exec /bin/sh "$job/run" || {
    rm -rf "$job"
    fail "systemd would not start the job"
}
report started
