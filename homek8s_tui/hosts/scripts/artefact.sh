# put DOWNLOAD PATH SHA256 MEMBER MODE: puts a verified download, or a member of it, in its place.
put() {
    digest=$(digest "$1")
    [ "${digest%% *}" = "$3" ] || { printf 'the download has the SHA-256 %s and not %s\n' "${digest%% *}" "$3" >&2; return 1; }
    if [ -n "$4" ]; then
        tar -xzOf "$1" -- "$4" >"$2.fresh" || return 1
        member=$(digest "$2.fresh")
        printf '%s %s\n' "$3" "${member%% *}" >"$2.origin.fresh" && chmod 644 "$2.origin.fresh" || return 1
    else
        mv -fT -- "$1" "$2.fresh" || return 1
    fi
    chown root:root "$2.fresh" && chmod -- "$5" "$2.fresh" && sync -- "$2.fresh" || return 1
    [ -z "$4" ] || mv -fT -- "$2.origin.fresh" "$2.origin" || return 1
    mv -fT -- "$2.fresh" "$2"
}
# keep_program PATH FOLDER: keeps a program, and beside it where it came from.
keep_program() {
    keep "$1" "$2" && { [ ! -f "$1.origin" ] || cp -a -- "$1.origin" "$2/origin"; }
}
