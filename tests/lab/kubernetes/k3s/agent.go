package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

var bootstrapToken = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)

// agent is one start of `k3s agent`.
type agent struct {
	settings *settings
	node     *node
	server   string
	caHash   string // empty when the token does not name it
	bearer   string // of a bootstrap token
	password string // of the server's own token
	state    string
	ca       []byte
	children *children
}

func runAgent(s *settings) error {
	stop := stopSignals()
	token := s.text("token", "")
	address := strings.TrimRight(s.text("server", ""), "/")
	switch {
	case token == "":
		return errors.New("--token is required")
	case address == "":
		return errors.New("--server is required")
	}
	if parsed, err := url.Parse(address); err != nil || parsed.Scheme != "https" || parsed.Host == "" {
		return fmt.Errorf("only https:// URLs are supported, invalid scheme: %s", address)
	}
	a := &agent{settings: s, server: address, state: filepath.Join(s.text("data-dir", defaultDataDir), "agent"), children: newChildren()}
	if err := a.parseToken(token); err != nil {
		return err
	}
	logf("info", "Starting k3s agent %s (%s)", version, commit)
	here, err := newNode(s)
	if err != nil {
		return err
	}
	a.node = here
	if err := os.MkdirAll(a.state, 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- a.join(ctx) }()
	for {
		select {
		case <-stop:
			a.children.shutdown()
			return nil
		case err := <-ready:
			if err != nil {
				a.children.shutdown()
				return err
			}
			logf("info", "k3s agent is up and running")
			notifyReady()
		case err := <-a.children.ended:
			return err
		}
	}
}

// parseToken takes K10<hash>::<credentials>, or the credentials alone.
func (a *agent) parseToken(token string) error {
	credentials := token
	if rest, long := strings.CutPrefix(token, "K10"); long {
		hash, after, ok := strings.Cut(rest, "::")
		if !ok {
			return errors.New("invalid token format")
		}
		if hash != "" && len(hash) != 64 {
			return errors.New("invalid token CA hash length")
		}
		a.caHash, credentials = hash, after
	}
	if bootstrapToken.MatchString(credentials) {
		a.bearer = credentials
		return nil
	}
	if _, password, ok := strings.Cut(credentials, ":"); ok {
		credentials = password
	} else if a.caHash != "" {
		return errors.New("invalid token format")
	}
	if credentials == "" {
		return errors.New("invalid token format")
	}
	a.password = credentials
	return nil
}

// join tries until the server lets this node in: a real agent does not give up either.
func (a *agent) join(ctx context.Context) error {
	for {
		err := a.verifyServer(ctx)
		if err == nil {
			break
		}
		logf("error", "Failed to validate connection to cluster at %s: %v", a.server, err)
		if !pause(ctx, 2*time.Second) {
			return ctx.Err()
		}
	}
	for {
		err := a.fetchCredentials(ctx)
		if err == nil {
			break
		}
		logf("error", "Waiting to retrieve agent configuration; server is not ready: %v", err)
		if !pause(ctx, 5*time.Second) {
			return ctx.Err()
		}
	}
	config := filepath.Join(a.state, "kubelet.kubeconfig")
	if err := writeKubeconfig(config, a.server, a.ca, a.state, "client-kubelet", 0o600); err != nil {
		return err
	}
	own, _, err := fromKubeconfig(config)
	if err != nil {
		return err
	}
	for {
		err := a.node.register(ctx, own)
		if err == nil {
			break
		}
		logf("error", "%v", err)
		if !pause(ctx, 2*time.Second) {
			return ctx.Err()
		}
	}
	return a.children.startKwok(a.node, config, a.state, podCIDR(ctx, own, a.node.name))
}

func pause(ctx context.Context, length time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(length):
		return true
	}
}

// verifyServer fetches the server's certificate authority, and compares it with the one that the token names.
func (a *agent) verifyServer(ctx context.Context) error {
	blind := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	defer blind.CloseIdleConnections()
	bundle, err := fetch(ctx, &http.Client{Transport: blind, Timeout: 10 * time.Second}, http.MethodGet, a.server+"/cacerts", nil, nil)
	if err != nil {
		return fmt.Errorf("failed to get CA certs: %w", err)
	}
	a.ca = bundle
	client, err := a.client()
	if err != nil {
		return err
	}
	if _, err := fetch(ctx, client, http.MethodGet, a.server+"/cacerts", nil, nil); err != nil {
		return fmt.Errorf("CA cert validation failed: %w", err)
	}
	if a.caHash == "" {
		logf("warning", "Cluster CA certificate is not trusted by the host CA bundle, but the token does not include a CA hash. "+
			"Use the full token from the server's node-token file to enable Cluster CA validation.")
	} else if hash := caHash(bundle); hash != a.caHash {
		return fmt.Errorf("token CA hash does not match the Cluster CA certificate hash: %s != %s", a.caHash, hash)
	}
	return nil
}

// client trusts the server's authority, and shows the node's certificate once there is one.
func (a *agent) client() (*http.Client, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(a.ca) {
		return nil, errors.New("the server's CA bundle has no certificate in it")
	}
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.state, "client-kubelet.crt"), filepath.Join(a.state, "client-kubelet.key"))
	if err == nil {
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 10 * time.Second}, nil
}

// fetchCredentials gets this node's certificates, with the token or with the certificate of an earlier start.
func (a *agent) fetchCredentials(ctx context.Context) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	if _, err := fetch(ctx, client, http.MethodGet, a.server+"/v1-k3s/config", nil, a.credentials); err != nil {
		return fmt.Errorf("failed to retrieve configuration from server: %w", err)
	}
	certificates := map[string][]byte{}
	for _, name := range []string{"client-kubelet", "serving-kubelet"} {
		csr, err := request(filepath.Join(a.state, name+".key"), a.node.name)
		if err != nil {
			return err
		}
		certificate, err := fetch(ctx, client, http.MethodPost, a.server+"/v1-k3s/"+name+".crt", csr, a.credentials)
		if err != nil {
			return err
		}
		certificates[name+".crt"] = certificate
	}
	clientCA, err := fetch(ctx, client, http.MethodGet, a.server+"/v1-k3s/client-ca.crt", nil, a.credentials)
	if err != nil {
		return err
	}
	certificates["client-ca.crt"], certificates["server-ca.crt"] = clientCA, a.ca
	for name, data := range certificates {
		if err := writeFile(filepath.Join(a.state, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (a *agent) credentials(request *http.Request) {
	request.Header.Set(nodeNameHeader, a.node.name)
	request.Header.Set(nodePasswordHeader, a.node.password)
	request.Header.Set(nodeIPHeader, strings.Join(append(append([]string{}, a.node.addresses...), a.node.external...), ","))
	if a.bearer != "" {
		request.Header.Set("Authorization", "Bearer "+a.bearer)
	} else {
		request.SetBasicAuth("node", a.password)
	}
}

func fetch(ctx context.Context, client *http.Client, method, address string, body []byte, prepare func(*http.Request)) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if prepare != nil {
		prepare(request)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	switch {
	case response.StatusCode == http.StatusForbidden && strings.Contains(string(data), "Node password rejected"):
		return nil, errors.New(strings.TrimSpace(string(data)))
	case response.StatusCode/100 != 2:
		return nil, fmt.Errorf("%s: %s", address, response.Status)
	}
	return data, nil
}
