# INSTALLER: installs the unit and the uninstall script of a server around the binary that lies there already.
INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_SKIP_START=true INSTALL_K3S_SKIP_ENABLE=true INSTALL_K3S_EXEC=server
export INSTALL_K3S_SKIP_DOWNLOAD INSTALL_K3S_SKIP_START INSTALL_K3S_SKIP_ENABLE INSTALL_K3S_EXEC
sh "$1"
