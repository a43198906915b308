# PATH: the content of a secret's place: the only output.
cat -- "$1"
