package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

const (
	nodeDirectory     = "/etc/rancher/node" // outlives an uninstall, as with the real K3s
	hexadecimal       = "0123456789abcdef"
	lowerAlphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// node is this machine as the cluster sees it.
type node struct {
	name      string
	addresses []string
	external  []string
	labels    map[string]string
	taints    []object
	password  string
	podCIDR   string // asked for at registration; empty leaves it to the controller manager
	settings  *settings
}

// newNode works out this machine's node, and refuses the addresses and interfaces that K3s could not use.
func newNode(s *settings) (*node, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	n := &node{name: strings.ToLower(s.text("node-name", hostname)), settings: s, external: unique(s.list("node-external-ip"))}
	if s.bool("with-node-id") {
		id, err := remembered(filepath.Join(nodeDirectory, "id"), 8)
		if err != nil {
			return nil, err
		}
		n.name += "-" + id
	}
	if !regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`).MatchString(n.name) {
		return nil, fmt.Errorf("invalid node name %q", n.name)
	}
	if n.password, err = remembered(filepath.Join(nodeDirectory, "password"), 32); err != nil {
		return nil, err
	}
	if n.addresses, err = nodeAddresses(s); err != nil {
		return nil, err
	}
	for _, address := range n.external {
		if net.ParseIP(address) == nil {
			return nil, fmt.Errorf("invalid node-external-ip: %s", address)
		}
	}
	n.labels = map[string]string{
		"beta.kubernetes.io/arch": runtime.GOARCH, "kubernetes.io/arch": runtime.GOARCH,
		"beta.kubernetes.io/os": "linux", "kubernetes.io/os": "linux",
		"beta.kubernetes.io/instance-type": "k3s", "node.kubernetes.io/instance-type": "k3s",
		"kubernetes.io/hostname": n.name,
	}
	for _, label := range s.list("node-label") {
		key, value, ok := strings.Cut(label, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("invalid node label %q", label)
		}
		n.labels[key] = value
	}
	for _, taint := range s.list("node-taint") {
		rest, effect, ok := cutLast(taint, ":")
		if !ok || !contains([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}, effect) {
			return nil, fmt.Errorf("invalid taint spec: %s", taint)
		}
		key, value, _ := strings.Cut(rest, "=")
		n.taints = append(n.taints, object{"key": key, "value": value, "effect": effect})
	}
	return n, nil
}

func cutLast(text, separator string) (string, string, bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+1:], true
}

// remembered reads a random text from a file, and makes it the first time.
func remembered(path string, length int) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		fresh := random(length, hexadecimal)
		return fresh, writeFile(path, []byte(fresh+"\n"), 0o600)
	}
	return strings.TrimSpace(string(data)), err
}

// nodeAddresses are the node's own addresses. A real K3s finds out through flannel and the kubelet when the
// interface is missing or the address is not there; here both end the start.
func nodeAddresses(s *settings) ([]string, error) {
	wanted := s.list("node-ip")
	for _, address := range wanted {
		if net.ParseIP(address) == nil {
			return nil, fmt.Errorf("invalid node-ip: %s", address)
		}
	}
	name := s.text("flannel-iface", "")
	var there []net.Addr
	var err error
	if name != "" {
		iface, missing := net.InterfaceByName(name)
		if missing != nil {
			return nil, fmt.Errorf("unable to find interface %s: %w", name, missing)
		}
		there, err = iface.Addrs()
	} else {
		there, err = net.InterfaceAddrs()
	}
	if err != nil {
		return nil, err
	}
	usable := []string{}
	for _, entry := range there {
		if network, ok := entry.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			usable = append(usable, network.IP.String())
		}
	}
	for _, address := range wanted {
		if contains(usable, net.ParseIP(address).String()) {
			continue
		}
		if name != "" {
			return nil, fmt.Errorf("failed to find the node IP %q on interface %s (it has: %s)",
				address, name, strings.Join(usable, ", "))
		}
		return nil, fmt.Errorf("failed to validate nodeIP: node IP: %q not found in the host's network interfaces", address)
	}
	if len(wanted) > 0 {
		return unique(wanted), nil // the file and the command line may both name it
	}
	for _, address := range usable {
		if strings.Contains(address, ".") {
			return []string{address}, nil
		}
	}
	return nil, errors.New("no node-ip given and no usable IPv4 address found")
}

func unique(list []string) []string {
	kept := []string{}
	for _, entry := range list {
		if !contains(kept, entry) {
			kept = append(kept, entry)
		}
	}
	return kept
}

// identity is what the node's client certificate says.
func (n *node) identity() identity {
	return identity{name: "system:node:" + n.name, groups: []string{"system:nodes"}}
}

// hosts are the names and addresses of the node's own server on port 10250.
func (n *node) hosts() []string {
	return append(append([]string{n.name, "127.0.0.1", "localhost"}, n.addresses...), n.external...)
}

// register creates the Node, or brings an existing one up to date, with the node's own credentials.
func (n *node) register(ctx context.Context, client *api) error {
	annotations := map[string]string{
		"alpha.kubernetes.io/provided-node-ip":  strings.Join(n.addresses, ","),
		"flannel.alpha.coreos.com/backend-type": n.settings.text("flannel-backend", "vxlan"),
		"flannel.alpha.coreos.com/public-ip":    n.addresses[0],
		"k3s.io/hostname":                       n.name,
		"k3s.io/internal-ip":                    strings.Join(n.addresses, ","),
		"k3s.io/node-args":                      encodeArgs(n.settings),
	}
	if len(n.external) > 0 {
		annotations["k3s.io/external-ip"] = strings.Join(n.external, ",")
	}
	metadata := object{"name": n.name, "labels": n.labels, "annotations": annotations}
	spec := object{"providerID": "k3s://" + n.name}
	if len(n.taints) > 0 {
		spec["taints"] = n.taints
	}
	if n.podCIDR != "" {
		spec["podCIDR"], spec["podCIDRs"] = n.podCIDR, []string{n.podCIDR}
	}
	body := object{"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}
	err := client.do(ctx, http.MethodPost, "/api/v1/nodes", jsonType, body, nil)
	if hasStatus(err, http.StatusConflict) {
		err = client.do(ctx, http.MethodPatch, "/api/v1/nodes/"+n.name, mergeType, object{"metadata": metadata}, nil)
	}
	if err != nil {
		return fmt.Errorf("unable to register node %s: %w", n.name, err)
	}
	status, err := n.status()
	if err != nil {
		return err
	}
	err = client.do(ctx, http.MethodPatch, "/api/v1/nodes/"+n.name+"/status", mergeType, object{"status": status}, nil)
	if err != nil {
		return fmt.Errorf("unable to write the status of node %s: %w", n.name, err)
	}
	// The kubelet's understudy has a new name at every start and would wait for its own old lease to run out.
	lease := "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/" + n.name
	err = client.do(ctx, http.MethodDelete, lease, jsonType, nil, nil)
	if err != nil && !hasStatus(err, http.StatusNotFound) {
		return fmt.Errorf("unable to renew the lease of node %s: %w", n.name, err)
	}
	return nil
}

func encodeArgs(s *settings) string {
	command := "server"
	if s.role == onAgent {
		command = "agent"
	}
	quoted := []string{strconv.Quote(command)}
	for _, arg := range s.args {
		quoted = append(quoted, strconv.Quote(arg))
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

// status is what a kubelet reports of its machine: the machine's true data, and K3s's version.
func (n *node) status() (object, error) {
	var machine syscall.Utsname
	if err := syscall.Uname(&machine); err != nil {
		return nil, err
	}
	addresses := []object{}
	for _, address := range n.addresses {
		addresses = append(addresses, object{"type": "InternalIP", "address": address})
	}
	for _, address := range n.external {
		addresses = append(addresses, object{"type": "ExternalIP", "address": address})
	}
	addresses = append(addresses, object{"type": "Hostname", "address": n.name})
	capacity := object{
		"cpu": strconv.Itoa(runtime.NumCPU()), "memory": memory(), "pods": "110",
		"ephemeral-storage": storage(), "hugepages-2Mi": "0",
	}
	return object{
		"addresses": addresses, "capacity": capacity, "allocatable": capacity,
		"daemonEndpoints": object{"kubeletEndpoint": object{"Port": 10250}},
		"nodeInfo": object{
			"architecture": runtime.GOARCH, "operatingSystem": "linux", "osImage": osImage(),
			"kernelVersion": releaseOf(machine), "kubeletVersion": version, "kubeProxyVersion": version,
			"containerRuntimeVersion": "containerd://2.2.2-k3s1",
			"machineID":               firstLine("/etc/machine-id"), "systemUUID": firstLine("/etc/machine-id"),
			"bootID": firstLine("/proc/sys/kernel/random/boot_id"),
		},
	}, nil
}

func releaseOf(machine syscall.Utsname) string {
	var text strings.Builder
	for _, letter := range machine.Release {
		if letter == 0 {
			break
		}
		text.WriteByte(byte(letter))
	}
	return text.String()
}

func firstLine(path string) string {
	data, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}

func osImage() string {
	file, err := os.Open("/etc/os-release")
	if err != nil {
		return "linux"
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(value, `"`)
		}
	}
	return "linux"
}

func memory() string {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return "0"
	}
	return strconv.FormatUint(uint64(info.Totalram)*uint64(info.Unit)/1024, 10) + "Ki"
}

func storage() string {
	var info syscall.Statfs_t
	if syscall.Statfs("/", &info) != nil {
		return "0"
	}
	return strconv.FormatUint(info.Blocks*uint64(info.Bsize)/1024, 10) + "Ki"
}
