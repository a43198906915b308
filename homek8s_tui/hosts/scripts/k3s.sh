# What K3s is here, as NAME=VALUE lines.
say() { printf '%s=%s\n' "$1" "$2"; }
if command -v k3s >/dev/null; then say version "$(k3s --version 2>/dev/null | sed -n '1s/^k3s version \([^ ]*\).*/\1/p')"; else say version ''; fi
for unit in k3s k3s-agent; do say "$unit" "$(systemctl is-active "$unit" 2>/dev/null)"; done
[ -f /etc/rancher/k3s/k3s.yaml ] || exit 0
# asking leaves nothing on the disk: kubectl would keep what it learnt of the API in root's home folder
KUBECACHEDIR=/run/homek8s/kubectl
export KUBECACHEDIR
# an answer that does not come must not take all of the question's time: without cached kinds kubectl tries five times
exec 3>&1
words=$(timeout 7 k3s kubectl get nodes --request-timeout=5s -o 'jsonpath={range .items[*]}{"node="}{.metadata.name}{" "}{range .status.conditions[?(@.type=="Ready")]}{.status}{end}{" "}{.status.nodeInfo.kubeletVersion}{" "}{range .status.addresses[?(@.type=="InternalIP")]}{.address}{end}{"\n"}{end}' 2>&1 >&3) && exit 0
say silent "$(printf '%s\n' "${words:-it did not answer in 7 s}" | tail -n 1)"
