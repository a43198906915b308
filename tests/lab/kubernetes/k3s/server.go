package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	defaultKubeconfig = "/etc/rancher/k3s/k3s.yaml"
	defaultDataDir    = "/var/lib/rancher/k3s"
	tokenGroup        = "system:bootstrappers:k3s:default-node-token"
	// A real K3s keeps its API server on this port of the loopback address too.
	backend = "https://127.0.0.1:6444"
)

// server is one start of `k3s server`.
type server struct {
	settings *settings
	node     *node
	data     string // the data directory
	state    string // its part for the server
	tls      string
	serverCA *authority
	clientCA *authority
	admin    *api
	children *children
	service  string // the API's address in the cluster
}

func runServer(s *settings) error {
	stop := stopSignals()
	signal.Ignore(syscall.SIGPIPE)
	logf("info", "Starting k3s %s (%s)", version, commit)
	here, err := newNode(s)
	if err != nil {
		return err
	}
	data := s.text("data-dir", defaultDataDir)
	state := filepath.Join(data, "server")
	srv := &server{
		settings: s, node: here, data: data, state: state, tls: filepath.Join(state, "tls"), children: newChildren(),
	}
	ready := make(chan error, 1)
	go func() { ready <- srv.start() }()
	for {
		select {
		case <-stop:
			srv.children.shutdown()
			return nil
		case err := <-ready:
			if err != nil {
				srv.children.shutdown()
				return err
			}
			logf("info", "k3s is up and running")
			notifyReady()
		case err := <-srv.children.ended:
			srv.children.shutdown()
			return err
		}
	}
}

// start brings everything up, in the order in which the parts need each other.
func (s *server) start() error {
	for _, directory := range []string{s.tls, filepath.Join(s.state, "db"), filepath.Join(s.state, "cred"), filepath.Join(s.state, "manifests")} {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			return err
		}
	}
	if err := s.startDatastore(); err != nil {
		return err
	}
	if err := s.certificates(); err != nil {
		return err
	}
	password, err := s.token()
	if err != nil {
		return err
	}
	if err := s.kubeconfigs(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(s.settings.text("bind-address", ""), s.port()))
	if err != nil {
		return err
	}
	if err := s.startFront(listener, password); err != nil {
		return err
	}
	if err := s.startAPI(); err != nil {
		return err
	}
	if err := s.waitReady(); err != nil {
		return err
	}
	if err := s.startControllers(); err != nil {
		return err
	}
	if err := s.createHelmKinds(); err != nil {
		return err
	}
	return s.joinOwnNode()
}

func (s *server) port() string { return s.settings.text("https-listen-port", "6443") }

func (s *server) startDatastore() error {
	socket := filepath.Join(s.state, "kine.sock")
	_ = os.Remove(socket)
	return s.children.start("kine",
		"--endpoint", "sqlite://"+filepath.Join(s.state, "db", "state.db")+"?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate",
		"--listen-address", "unix://"+socket, "--metrics-bind-address", "0")
}

// serviceAddress is the first address of the services' network, which the API has in the cluster.
func serviceAddress(cidr string) (string, error) {
	_, network, err := net.ParseCIDR(cidr)
	if err != nil {
		return "", fmt.Errorf("invalid service-cidr: %w", err)
	}
	address := network.IP
	address[len(address)-1]++
	return address.String(), nil
}

// certificates makes what is missing under server/tls, with the file names of a real K3s.
func (s *server) certificates() error {
	var err error
	if s.serverCA, err = loadAuthority(s.tls, "server-ca"); err != nil {
		return err
	}
	if s.clientCA, err = loadAuthority(s.tls, "client-ca"); err != nil {
		return err
	}
	requestCA, err := loadAuthority(s.tls, "request-header-ca")
	if err != nil {
		return err
	}
	if err := serviceKey(filepath.Join(s.tls, "service.key")); err != nil {
		return err
	}
	if s.service, err = serviceAddress(s.settings.list("service-cidr", "10.43.0.0/16")[0]); err != nil {
		return err
	}
	domain := s.settings.text("cluster-domain", "cluster.local")
	names := []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + domain,
		"localhost", s.node.name, "127.0.0.1", "::1", s.service,
	}
	names = append(append(names, s.node.addresses...), s.node.external...)
	if address := s.settings.text("advertise-address", ""); address != "" {
		names = append(names, address)
	}
	names = append(names, s.settings.list("tls-san")...)
	agent := filepath.Join(s.data, "agent")
	for _, entry := range []struct {
		ca        *authority
		directory string
		file      string
		who       identity
	}{
		{s.serverCA, s.tls, "serving-k3s", identity{"k3s", []string{"k3s"}, names}},
		{s.serverCA, s.tls, "serving-kube-apiserver", identity{"kube-apiserver", nil, names}},
		{s.clientCA, s.tls, "client-admin", identity{"system:admin", []string{"system:masters"}, nil}},
		{s.clientCA, s.tls, "client-controller", identity{"system:kube-controller-manager", nil, nil}},
		{s.clientCA, s.tls, "client-scheduler", identity{"system:kube-scheduler", nil, nil}},
		{s.clientCA, s.tls, "client-kube-apiserver", identity{"system:apiserver", []string{"system:masters"}, nil}},
		{requestCA, s.tls, "client-auth-proxy", identity{"system:auth-proxy", nil, nil}},
		{s.clientCA, agent, "client-kubelet", s.node.identity()},
		{s.serverCA, agent, "serving-kubelet", identity{s.node.name, nil, s.node.hosts()}},
	} {
		if err := entry.ca.issue(entry.directory, entry.file, entry.who); err != nil {
			return err
		}
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.tls, "client-admin.crt"), filepath.Join(s.tls, "client-admin.key"))
	if err != nil {
		return err
	}
	s.admin = newAPI(backend, s.serverCA.bundle, &pair)
	return nil
}

// token reads the server's token or makes it, and returns the secret in it.
func (s *server) token() (string, error) {
	path := filepath.Join(s.state, "token")
	stored, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	password := secretOf(strings.TrimSpace(string(stored)))
	wanted := secretOf(s.settings.text("token", ""))
	switch {
	case password == "" && wanted == "":
		password = random(32, hexadecimal)
	case password == "":
		password = wanted
	case wanted != "" && wanted != password:
		return "", errors.New("bootstrap data already found and encrypted with different token")
	}
	full := "K10" + caHash(s.serverCA.bundle) + "::server:" + password + "\n"
	if err := writeFile(path, []byte(full), 0o600); err != nil {
		return "", err
	}
	for _, name := range []string{"node-token", "agent-token"} {
		link := filepath.Join(s.state, name)
		_ = os.Remove(link)
		if err := os.Symlink(path, link); err != nil {
			return "", err
		}
	}
	return password, nil
}

// secretOf is the secret part of a server token in its long or its short form.
func secretOf(token string) string {
	if strings.HasPrefix(token, "K10") {
		_, token, _ = strings.Cut(token, "::")
		_, token, _ = strings.Cut(token, ":")
	}
	return token
}

func (s *server) kubeconfigs() error {
	mode, err := strconv.ParseUint(s.settings.text("write-kubeconfig-mode", "600"), 8, 32)
	if err != nil {
		return fmt.Errorf("invalid write-kubeconfig-mode: %w", err)
	}
	port := s.port()
	agent := filepath.Join(s.data, "agent")
	for _, entry := range []struct {
		path, server, directory, file string
		mode                          os.FileMode
	}{
		{s.settings.text("write-kubeconfig", defaultKubeconfig), "https://127.0.0.1:" + port, s.tls, "client-admin", os.FileMode(mode)},
		{filepath.Join(s.state, "cred", "admin.kubeconfig"), backend, s.tls, "client-admin", 0o600},
		{filepath.Join(s.state, "cred", "controller.kubeconfig"), backend, s.tls, "client-controller", 0o600},
		{filepath.Join(s.state, "cred", "scheduler.kubeconfig"), backend, s.tls, "client-scheduler", 0o600},
		{filepath.Join(agent, "kubelet.kubeconfig"), "https://127.0.0.1:" + port, agent, "client-kubelet", 0o600},
	} {
		if err := writeKubeconfig(entry.path, entry.server, s.serverCA.bundle, entry.directory, entry.file, entry.mode); err != nil {
			return err
		}
	}
	// Others may look into the directory of a kubeconfig whose mode lets them read it.
	return os.Chmod(filepath.Dir(s.settings.text("write-kubeconfig", defaultKubeconfig)), 0o755)
}

func (s *server) startFront(listener net.Listener, password string) error {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(s.tls, "serving-k3s.crt"), filepath.Join(s.tls, "serving-k3s.key"))
	if err != nil {
		return err
	}
	forAgents := object{
		"clusterCIDR":    s.settings.list("cluster-cidr", "10.42.0.0/16"),
		"serviceCIDR":    s.settings.list("service-cidr", "10.43.0.0/16"),
		"flannelBackend": s.settings.text("flannel-backend", "vxlan"),
	}
	front, err := newFront(s.serverCA, s.clientCA, s.tls, backend, password, s.admin, forAgents)
	if err != nil {
		return err
	}
	go func() { s.children.ended <- fmt.Errorf("the listener ended: %w", front.serve(listener, certificate)) }()
	return nil
}

func (s *server) startAPI() error {
	file := func(name string) string { return filepath.Join(s.tls, name) }
	issuer := "https://kubernetes.default.svc." + s.settings.text("cluster-domain", "cluster.local")
	advertised := s.settings.text("advertise-address", append(append([]string{}, s.node.external...), s.node.addresses...)[0])
	args := []string{
		"--etcd-servers=unix://" + filepath.Join(s.state, "kine.sock"),
		"--bind-address=127.0.0.1", "--secure-port=6444", "--advertise-address=" + advertised,
		"--tls-cert-file=" + file("serving-kube-apiserver.crt"), "--tls-private-key-file=" + file("serving-kube-apiserver.key"),
		"--client-ca-file=" + file("client-ca.crt"),
		"--requestheader-client-ca-file=" + file("request-header-ca.crt"), "--requestheader-allowed-names=system:auth-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + file("client-auth-proxy.crt"), "--proxy-client-key-file=" + file("client-auth-proxy.key"),
		"--kubelet-client-certificate=" + file("client-kube-apiserver.crt"), "--kubelet-client-key=" + file("client-kube-apiserver.key"),
		"--kubelet-certificate-authority=" + file("server-ca.crt"),
		"--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
		"--service-account-issuer=" + issuer, "--api-audiences=" + issuer + ",k3s",
		"--service-account-key-file=" + file("service.key"), "--service-account-signing-key-file=" + file("service.key"),
		"--service-cluster-ip-range=" + strings.Join(s.settings.list("service-cidr", "10.43.0.0/16"), ","),
		"--service-node-port-range=" + s.settings.text("service-node-port-range", "30000-32767"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--anonymous-auth=false", "--enable-bootstrap-token-auth=true", "--allow-privileged=true", "--profiling=false",
	}
	encryption := filepath.Join(s.state, "cred", "encryption-config.json")
	if s.settings.bool("secrets-encryption") {
		if err := encryptionKey(encryption); err != nil {
			return err
		}
	}
	// Without its key, what is encrypted already could not be read again: the file counts, not the setting.
	if _, err := os.Stat(encryption); err == nil {
		args = append(args, "--encryption-provider-config="+encryption, "--encryption-provider-config-automatic-reload=true")
	}
	return s.children.start("kube-apiserver", append(args, extra(s.settings, "kube-apiserver-arg")...)...)
}

// extra turns `name=value` arguments into the real program's flags; that program judges them.
func extra(s *settings, name string) []string {
	args := []string{}
	for _, value := range s.list(name) {
		args = append(args, "--"+strings.TrimLeft(value, "-"))
	}
	return args
}

// waitReady waits without a limit of its own: the unit's start has one, and a child that dies ends the wait.
func (s *server) waitReady() error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := s.admin.do(ctx, http.MethodGet, "/readyz", "", nil, nil)
		cancel()
		if err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *server) startControllers() error {
	file := func(name string) string { return filepath.Join(s.tls, name) }
	grace := os.Getenv("K3S_LAB_NODE_GRACE_SECONDS")
	if grace == "" {
		grace = "50" // Kubernetes's own
	}
	args := []string{
		"--kubeconfig=" + filepath.Join(s.state, "cred", "controller.kubeconfig"),
		"--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false",
		"--use-service-account-credentials=true", "--service-account-private-key-file=" + file("service.key"),
		"--root-ca-file=" + file("server-ca.crt"),
		"--controllers=*,token-cleaner-controller,-service-lb-controller,-node-route-controller,-cloud-node-lifecycle-controller",
		"--allocate-node-cidrs=true", "--configure-cloud-routes=false",
		"--cluster-cidr=" + strings.Join(s.settings.list("cluster-cidr", "10.42.0.0/16"), ","),
		"--service-cluster-ip-range=" + strings.Join(s.settings.list("service-cidr", "10.43.0.0/16"), ","),
		"--node-monitor-grace-period=" + grace + "s", "--node-monitor-period=2s",
		"--cluster-signing-kube-apiserver-client-cert-file=" + file("client-ca.crt"),
		"--cluster-signing-kube-apiserver-client-key-file=" + file("client-ca.key"),
		"--cluster-signing-kubelet-client-cert-file=" + file("client-ca.crt"),
		"--cluster-signing-kubelet-client-key-file=" + file("client-ca.key"),
		"--cluster-signing-kubelet-serving-cert-file=" + file("server-ca.crt"),
		"--cluster-signing-kubelet-serving-key-file=" + file("server-ca.key"),
	}
	err := s.children.start("kube-controller-manager", append(args, extra(s.settings, "kube-controller-manager-arg")...)...)
	if err != nil || s.settings.bool("disable-scheduler") {
		return err
	}
	config := filepath.Join(s.state, "cred", "scheduler.kubeconfig")
	args = []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false",
	}
	return s.children.start("kube-scheduler", append(args, extra(s.settings, "kube-scheduler-arg")...)...)
}

// joinOwnNode registers the server's node as the kubelet would, with the node's own rights, and then gives it
// the role, which only the server may.
func (s *server) joinOwnNode() error {
	agent := filepath.Join(s.data, "agent")
	own, _, err := fromKubeconfig(filepath.Join(agent, "kubelet.kubeconfig"))
	if err != nil {
		return err
	}
	ctx := context.Background()
	// Right after the first start kube-system and the node role's rules may not be there yet.
	err = retry(ctx, 20*time.Second, func() error { return ensurePassword(ctx, s.admin, s.node.name, s.node.password) })
	if err != nil {
		return err
	}
	if err := retry(ctx, 20*time.Second, func() error { return s.allowKwok(ctx) }); err != nil {
		return err
	}
	// The controller manager takes seconds to hand out the first network; a server's node gets the first one.
	if s.node.podCIDR, err = firstNodeNetwork(s.settings.list("cluster-cidr", "10.42.0.0/16")[0]); err != nil {
		return err
	}
	if err := retry(ctx, 20*time.Second, func() error { return s.node.register(ctx, own) }); err != nil {
		return err
	}
	roles := object{"metadata": object{"labels": object{"node-role.kubernetes.io/control-plane": "true"}}}
	if err := s.admin.do(ctx, http.MethodPatch, "/api/v1/nodes/"+s.node.name, mergeType, roles, nil); err != nil {
		return err
	}
	return s.children.startKwok(s.node, filepath.Join(agent, "kubelet.kubeconfig"), agent, podCIDR(ctx, own, s.node.name))
}

// allowKwok lets nodes read all nodes and leases: kwok watches them, and a kubelet may not. Everything else it
// does with the rights of a kubelet.
func (s *server) allowKwok(ctx context.Context) error {
	const group, name = "/apis/rbac.authorization.k8s.io/v1", "homek8s-lab:kwok"
	reading := []string{"get", "list", "watch"}
	role := object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": object{"name": name},
		"rules": []object{
			{"apiGroups": []string{""}, "resources": []string{"nodes"}, "verbs": reading},
			{"apiGroups": []string{"coordination.k8s.io"}, "resources": []string{"leases"}, "verbs": reading},
		},
	}
	binding := object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": object{"name": name},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
		"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}},
	}
	for path, body := range map[string]object{"/clusterroles": role, "/clusterrolebindings": binding} {
		err := s.admin.do(ctx, http.MethodPost, group+path, jsonType, body, nil)
		if err != nil && !hasStatus(err, http.StatusConflict) {
			return err
		}
	}
	return nil
}

// firstNodeNetwork is the first /24 of the pods' network.
func firstNodeNetwork(cidr string) (string, error) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return "", fmt.Errorf("invalid cluster-cidr: %w", err)
	}
	if !prefix.Addr().Is4() || prefix.Bits() > 24 {
		return "", fmt.Errorf("the lab's stand-in needs an IPv4 cluster-cidr of /24 or larger, not %s", cidr)
	}
	return netip.PrefixFrom(prefix.Masked().Addr(), 24).String(), nil
}

// createHelmKinds makes the kinds of K3s's Helm controller known to the API. The controller itself is not
// there: what a chart would install, a test installs.
func (s *server) createHelmKinds() error {
	if s.settings.bool("disable-helm-controller") {
		return nil
	}
	anything := object{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	for plural, kind := range map[string]string{"helmcharts": "HelmChart", "helmchartconfigs": "HelmChartConfig"} {
		body := object{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": object{"name": plural + ".helm.cattle.io"},
			"spec": object{
				"group": "helm.cattle.io", "scope": "Namespaced",
				"names": object{"plural": plural, "singular": strings.ToLower(kind), "kind": kind, "listKind": kind + "List"},
				"versions": []object{{
					"name": "v1", "served": true, "storage": true, "subresources": object{"status": object{}},
					"schema": object{"openAPIV3Schema": object{
						"type": "object", "properties": object{"spec": anything, "status": anything},
					}},
				}},
			},
		}
		const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
		err := s.admin.do(context.Background(), http.MethodPost, path, jsonType, body, nil)
		if err != nil && !hasStatus(err, http.StatusConflict) {
			return err
		}
	}
	return nil
}

// retry repeats what may fail while the cluster is coming up.
func retry(ctx context.Context, limit time.Duration, try func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil || err.Error() == passwordRejected {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// podCIDR is the network that the node has; the controller manager gives it a few moments after its creation.
func podCIDR(ctx context.Context, client *api, name string) string {
	var found struct {
		Spec struct {
			PodCIDR string `json:"podCIDR"`
		} `json:"spec"`
	}
	err := retry(ctx, 10*time.Second, func() error {
		// kwok will read all nodes, and would sleep for seconds when the right to do so is not in force yet.
		if err := client.do(ctx, http.MethodGet, "/api/v1/nodes?limit=1", "", nil, nil); err != nil {
			return err
		}
		if err := client.do(ctx, http.MethodGet, "/api/v1/nodes/"+name, "", nil, &found); err != nil {
			return err
		}
		if found.Spec.PodCIDR == "" {
			return errors.New("no podCIDR yet")
		}
		return nil
	})
	if err != nil {
		logf("warning", "node %s: %v", name, err)
		return "10.42.0.0/24"
	}
	return found.Spec.PodCIDR
}
