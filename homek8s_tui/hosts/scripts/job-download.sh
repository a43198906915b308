# PATH URL SHA256 MEMBER MODE UNDO: fetches an artefact with the machine's own curl. A job: it outlives the connection.
path=$1
folder=$(dirname -- "$path")
keep_program "$path" "$6" || exit 1
(umask 022 && mkdir -p -- "$folder") || exit 1
trap 'rm -f -- "$path.download" "$path.fresh" "$path.origin.fresh"' EXIT
curl -fsSL --proto '=https' --tlsv1.2 --retry 3 --connect-timeout 20 -o "$path.download" -- "$2" || exit 1
put "$path.download" "$path" "$3" "$4" "$5"
