# PATH: prints what a secret's place holds.
[ -f "$1" ] || { printf 'there is no file %s\n' "$1" >&2; exit 1; }
cat -- "$1"
