# The TCP ports that anything on this machine listens on.
ss -Hlnt | while read -r _ _ _ address _; do printf '%s\n' "${address##*:}"; done | sort -un
