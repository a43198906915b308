# state PATH: a downloaded program: the digest of the download it came from, and whether it is still intact.
# For a member of an archive both are kept in PATH.origin; a plain file is its own download.
state() {
    if [ -L "$1" ] || { [ -e "$1" ] && [ ! -f "$1" ]; }; then
        NOW="special"
    elif [ ! -e "$1" ]; then
        NOW="absent"
    else
        digest=$(digest "$1")
        digest=${digest%% *}
        archive='' member=''
        [ -f "$1.origin" ] && read -r archive member <"$1.origin"
        [ "$member" = "$digest" ] && digest=$archive
        NOW="file $(stat -c '%a %U' -- "$1") $digest"
    fi
}
