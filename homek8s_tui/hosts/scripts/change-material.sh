# Removes the folder that we keep on a machine; the state argument PATH.
compare "$1"
rm -rf -- "$1" /run/homek8s || fail "$1 could not be removed"
finish "$1"
