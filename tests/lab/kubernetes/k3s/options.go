package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

const defaultConfig = "/etc/rancher/k3s/config.yaml"

// role says which subcommands know an option.
type role int

const (
	onServer role = 1 << iota
	onAgent
	onBoth = onServer | onAgent
)

// effect says what the stand-in makes of an option of the real K3s.
type effect int

const (
	works   effect = iota // does what it does in K3s
	idle                  // accepted, and the log says that it changes nothing in the lab
	refused               // would need a part that the stand-in has not got
)

type kind int

const (
	text kind = iota
	toggle
	number
	list   // repeatable, and one value may hold several, separated by commas
	values // repeatable, commas belong to the value
)

type option struct {
	name   string
	alias  string
	kind   kind
	role   role
	effect effect
	env    string
}

var options = buildOptions()

func buildOptions() map[string]option {
	known := map[string]option{}
	add := func(role role, effect effect, kind kind, names ...string) {
		for _, name := range names {
			parts := strings.Split(name, "|") // name|alias|environment variable
			entry := option{name: parts[0], kind: kind, role: role, effect: effect}
			if len(parts) > 1 {
				entry.alias = parts[1]
			}
			if len(parts) > 2 {
				entry.env = parts[2]
			}
			known[entry.name] = entry
		}
	}
	add(onBoth, works, text, "config|c|K3S_CONFIG_FILE", "token|t|K3S_TOKEN", "token-file||K3S_TOKEN_FILE",
		"data-dir|d|K3S_DATA_DIR", "node-name||K3S_NODE_NAME", "flannel-iface", "server|s|K3S_URL")
	add(onBoth, works, list, "node-ip|i", "node-external-ip", "node-label", "node-taint")
	add(onBoth, works, toggle, "with-node-id")
	add(onBoth, works, values, "kubelet-arg", "kube-proxy-arg")
	add(onServer, works, list, "tls-san", "disable", "cluster-cidr", "service-cidr")
	add(onServer, works, text, "bind-address", "advertise-address", "service-node-port-range", "flannel-backend",
		"cluster-domain", "write-kubeconfig|o|K3S_KUBECONFIG_OUTPUT", "write-kubeconfig-mode||K3S_KUBECONFIG_MODE")
	add(onServer, works, number, "https-listen-port")
	add(onServer, works, toggle, "secrets-encryption", "disable-scheduler", "disable-helm-controller")
	add(onServer, works, values, "kube-apiserver-arg", "kube-controller-manager-arg", "kube-scheduler-arg")

	add(onBoth, idle, toggle, "debug||K3S_DEBUG", "alsologtostderr", "selinux||K3S_SELINUX", "prefer-bundled-bin",
		"protect-kernel-defaults", "disable-default-registry-endpoint")
	add(onBoth, idle, number, "v", "lb-server-port||K3S_LB_SERVER_PORT")
	add(onBoth, idle, text, "vmodule", "log|l", "resolv-conf||K3S_RESOLV_CONF", "flannel-conf", "flannel-cni-conf",
		"pause-image", "snapshotter", "private-registry", "default-runtime", "image-service-endpoint",
		"container-runtime-endpoint", "image-credential-provider-bin-dir", "image-credential-provider-config")
	add(onBoth, idle, list, "airgap-extra-registry", "node-internal-dns", "node-external-dns")
	add(onServer, idle, toggle, "tls-san-security", "flannel-ipv6-masq", "flannel-external-ip", "embedded-registry",
		"disable-cloud-controller", "disable-kube-proxy", "disable-network-policy",
		"enable-pprof", "supervisor-metrics", "etcd-expose-metrics", "etcd-disable-snapshots",
		"etcd-snapshot-compress")
	add(onServer, idle, list, "cluster-dns")
	add(onServer, idle, number, "advertise-port", "etcd-snapshot-retention")
	add(onServer, idle, values, "kube-cloud-controller-manager-arg", "etcd-arg")
	add(onServer, idle, text, "egress-selector-mode", "servicelb-namespace", "helm-job-image",
		"write-kubeconfig-group||K3S_KUBECONFIG_GROUP", "default-local-storage-path",
		"system-default-registry||K3S_SYSTEM_DEFAULT_REGISTRY", "etcd-snapshot-name", "etcd-snapshot-dir",
		"etcd-snapshot-schedule-cron")

	add(onBoth, refused, toggle, "docker", "rootless")
	add(onBoth, refused, text, "vpn-auth||K3S_VPN_AUTH", "vpn-auth-file||K3S_VPN_AUTH_FILE")
	add(onServer, refused, toggle, "cluster-init||K3S_CLUSTER_INIT", "cluster-reset||K3S_CLUSTER_RESET",
		"disable-agent", "disable-apiserver", "disable-controller-manager", "disable-etcd", "etcd-s3")
	add(onServer, refused, text, "cluster-reset-restore-path", "datastore-endpoint||K3S_DATASTORE_ENDPOINT",
		"datastore-cafile||K3S_DATASTORE_CAFILE", "datastore-certfile||K3S_DATASTORE_CERTFILE",
		"datastore-keyfile||K3S_DATASTORE_KEYFILE", "agent-token||K3S_AGENT_TOKEN",
		"agent-token-file||K3S_AGENT_TOKEN_FILE", "secrets-encryption-provider")
	return known
}

// settings are the options of one start, from the environment, the configuration files and the command line.
type settings struct {
	role role
	set  map[string][]string
	args []string // as a real node shows them in its k3s.io/node-args annotation
}

func (s *settings) text(name, fallback string) string {
	if found := s.set[name]; len(found) > 0 {
		return found[len(found)-1]
	}
	return fallback
}

func (s *settings) bool(name string) bool { return s.text(name, "false") == "true" }

func (s *settings) list(name string, fallback ...string) []string {
	if found := s.set[name]; len(found) > 0 {
		return found
	}
	return fallback
}

func lookup(role role, name string) (option, bool) {
	found, ok := options[name]
	if !ok && len(name) == 1 {
		for _, entry := range options {
			if entry.alias == name && entry.role&role != 0 {
				return entry, true
			}
		}
	}
	return found, ok && found.role&role != 0
}

// undefined is the real program's answer to a flag it has not got.
func undefined(role role, name string) error {
	command := "server"
	if role == onAgent {
		command = "agent"
	}
	fmt.Printf("Incorrect Usage: flag provided but not defined: -%s\n\nUSAGE:\n   k3s %s [OPTIONS]\n\nOPTIONS:\n", name, command)
	names := make([]string, 0, len(options))
	for _, entry := range options {
		if entry.role&role != 0 {
			names = append(names, entry.name)
		}
	}
	sort.Strings(names)
	for _, known := range names {
		fmt.Printf("   --%s\n", known)
	}
	return fmt.Errorf("flag provided but not defined: -%s", name)
}

// readOptions reads what a real K3s reads, in its order: later sources replace earlier ones, and lists of the
// command line add to those of the files.
func readOptions(role role, args []string) (*settings, error) {
	line, order, err := parseArguments(role, args)
	if err != nil {
		return nil, err
	}
	s := &settings{role: role, set: map[string][]string{}}
	for _, entry := range options {
		if value := os.Getenv(entry.env); entry.env != "" && entry.role&role != 0 && value != "" {
			s.set[entry.name] = split(entry, value)
		}
	}
	path, named := s.text("config", defaultConfig), len(s.set["config"]) > 0
	if found := line["config"]; len(found) > 0 {
		path, named = found[len(found)-1], true
	}
	fromFiles, names, err := readFiles(role, path, named)
	if err != nil {
		return nil, err
	}
	for name, found := range fromFiles {
		s.set[name] = found
	}
	for name, found := range line {
		if kind := options[name].kind; kind == list || kind == values {
			s.set[name] = append(s.set[name], found...)
		} else {
			s.set[name] = found
		}
	}
	for _, name := range append(names, order...) {
		for _, value := range append(append([]string{}, fromFiles[name]...), line[name]...) {
			if name == "token" {
				value = "********"
			}
			s.args = append(s.args, "--"+name, value)
		}
	}
	return s, s.check()
}

func parseArguments(role role, args []string) (map[string][]string, []string, error) {
	found, order := map[string][]string{}, []string{}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			return nil, nil, fmt.Errorf("unexpected argument %q", arg)
		}
		name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		entry, ok := lookup(role, name)
		if !ok {
			return nil, nil, undefined(role, name)
		}
		if !given {
			switch {
			case entry.kind == toggle:
				value = "true"
			case i+1 < len(args):
				i++
				value = args[i]
			default:
				return nil, nil, fmt.Errorf("flag needs an argument: -%s", name)
			}
		}
		if len(found[entry.name]) == 0 {
			order = append(order, entry.name)
		}
		found[entry.name] = append(found[entry.name], split(entry, value)...)
	}
	return found, order, nil
}

// readFiles reads config.yaml and the files beside it in config.yaml.d, in the order of their names. A key
// replaces the one before it; with a + at its end it adds to it.
func readFiles(role role, path string, named bool) (map[string][]string, []string, error) {
	files := []string{}
	if _, err := os.Stat(path); err == nil {
		files = append(files, path)
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		more, err := filepath.Glob(filepath.Join(path+".d", pattern))
		if err != nil {
			return nil, nil, err
		}
		files = append(files, more...)
	}
	if len(files) == 0 && named {
		return nil, nil, fmt.Errorf("stat %s: no such file or directory", path)
	}
	if len(files) > 0 && files[0] == path {
		sort.Strings(files[1:])
	} else {
		sort.Strings(files)
	}
	found, order := map[string][]string{}, []string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, err
		}
		var content map[string]any
		if err := yaml.UnmarshalStrict(data, &content); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
		keys := make([]string, 0, len(content))
		for key := range content {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			name := strings.TrimSuffix(key, "+")
			entry, ok := lookup(role, name)
			if !ok {
				logf("error", "%s: unknown key %q", file, key)
				return nil, nil, undefined(role, name)
			}
			parts, err := scalars(content[key])
			if err != nil {
				return nil, nil, fmt.Errorf("%s: key %q: %w", file, key, err)
			}
			fresh := []string{}
			for _, part := range parts {
				fresh = append(fresh, split(entry, part)...)
			}
			if _, before := found[entry.name]; !before {
				order = append(order, entry.name)
			}
			if strings.HasSuffix(key, "+") {
				fresh = append(append([]string{}, found[entry.name]...), fresh...)
			}
			found[entry.name] = fresh
		}
	}
	return found, order, nil
}

func scalars(value any) ([]string, error) {
	switch v := value.(type) {
	case nil:
		return []string{""}, nil
	case string:
		return []string{v}, nil
	case bool:
		return []string{strconv.FormatBool(v)}, nil
	case int64:
		return []string{strconv.FormatInt(v, 10)}, nil
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}, nil
	case []any:
		all := []string{}
		for _, entry := range v {
			if _, nested := entry.([]any); nested {
				return nil, errors.New("a list inside a list")
			}
			parts, err := scalars(entry)
			if err != nil {
				return nil, err
			}
			all = append(all, parts...)
		}
		return all, nil
	}
	return nil, fmt.Errorf("cannot use a value of the type %T", value)
}

func split(entry option, value string) []string {
	if entry.kind != list {
		return []string{value}
	}
	parts := []string{}
	for _, part := range strings.Split(value, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// check refuses values that the real program refuses, and what the stand-in has no part for.
func (s *settings) check() error {
	for _, entry := range options {
		found, ok := s.set[entry.name]
		if !ok {
			continue
		}
		for _, value := range found {
			switch entry.kind {
			case toggle:
				parsed, err := strconv.ParseBool(value)
				if err != nil {
					return fmt.Errorf("invalid boolean value %q for -%s: parse error", value, entry.name)
				}
				s.set[entry.name] = []string{strconv.FormatBool(parsed)}
			case number:
				if _, err := strconv.Atoi(value); err != nil {
					return fmt.Errorf("invalid value %q for flag -%s: parse error", value, entry.name)
				}
			case text, list, values:
			}
			if strings.HasSuffix(entry.name, "-arg") && !strings.Contains(value, "=") {
				return fmt.Errorf("invalid value %q for flag -%s: expected name=value", value, entry.name)
			}
		}
		if entry.effect == refused && s.text(entry.name, "false") != "false" {
			return fmt.Errorf("the lab's stand-in for K3s does not model --%s", entry.name)
		}
		if entry.effect == idle {
			logf("warning", "--%s is accepted and has no effect in the lab's stand-in", entry.name)
		}
	}
	if s.role == onServer && s.text("server", "") != "" {
		return errors.New("the lab's stand-in for K3s does not model --server on a server (more than one server)")
	}
	for _, item := range s.list("disable") {
		if !contains([]string{"coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes"}, item) {
			logf("warning", "--disable=%s names no packaged component", item)
		}
	}
	if backend := s.text("flannel-backend", "vxlan"); !contains([]string{"none", "vxlan", "host-gw", "wireguard-native"}, backend) {
		return fmt.Errorf("unknown flannel backend %q", backend)
	}
	if s.set["token"] == nil && s.text("token-file", "") != "" {
		data, err := os.ReadFile(s.text("token-file", ""))
		if err != nil {
			return err
		}
		s.set["token"] = []string{strings.TrimSpace(string(data))}
	}
	return nil
}
