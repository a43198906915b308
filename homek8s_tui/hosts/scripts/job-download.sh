# PATH URL SHA256 MEMBER MODE UNDO: fetches an artefact with the machine's own curl. A job: it outlives the connection.
path=$1
folder=$(dirname -- "$path")
mkdir -p -- "$6" || exit 1
# a note that is there stays: the try that was cut off after it may have made the folders
if [ ! -e "$6/folders" ]; then
    missing=$folder
    : >"$6/folders.new" || exit 1
    while [ ! -d "$missing" ]; do
        printf '%s\n' "$missing" >>"$6/folders.new"
        missing=$(dirname -- "$missing")
    done
    mv -fT -- "$6/folders.new" "$6/folders" || exit 1
fi
(umask 022 && mkdir -p -- "$folder") || exit 1
trap 'rm -f -- "$path.download" "$path.fresh" "$path.origin.fresh"' EXIT
curl -fsSL --proto '=https' --tlsv1.2 --retry 3 --connect-timeout 20 -o "$path.download" -- "$2" || exit 1
put "$path.download" "$path" "$3" "$4" "$5"
