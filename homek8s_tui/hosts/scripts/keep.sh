# keep PATH FOLDER: keeps in FOLDER what is at PATH now, or notes there which folders on the way to PATH do not exist yet:
# those are ours to remove again. A note that is there stays: the try that was cut off after it may have made them.
# The umask keeps what is made here to root.
keep() {
    mkdir -p -- "$2" || return 1
    if [ -f "$1" ]; then
        cp -a -- "$1" "$2/content"
    elif [ ! -e "$2/folders" ]; then
        missing=$(dirname -- "$1")
        : >"$2/folders.new" || return 1
        while [ ! -d "$missing" ]; do
            printf '%s\n' "$missing" >>"$2/folders.new" || return 1
            missing=$(dirname -- "$missing")
        done
        mv -fT -- "$2/folders.new" "$2/folders"
    fi
}
# put_back PATH FOLDER: puts in place again what `keep` kept. Touched, so that what runs with the newer one is found stale.
put_back() {
    cp -a -- "$2/content" "$1.homek8s-restore" && touch -- "$1.homek8s-restore" && mv -fT -- "$1.homek8s-restore" "$1"
}
# from_nothing PATH: putting back can't lose anything where nothing is, so that is as good as the state that was planned
# from: K3s's own uninstall script takes its whole folder along.
from_nothing() { [ -e "$1" ] || [ -L "$1" ] || BEFORE=absent; }
# drop_folders FOLDER: removes the folders that were made on the way, if nothing else is in them.
drop_folders() {
    [ -f "$1/folders" ] || return 0
    while IFS= read -r made; do rmdir -- "$made" 2>/dev/null || break; done <"$1/folders"
}
