# ADDRESS BYTES: one packet of that size that must not be fragmented; IP and ICMP headers are 28 bytes of it.
ping -n -q -c 1 -W 2 -M 'do' -s "$(($2 - 28))" "$1"
