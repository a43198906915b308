package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	secretsPath      = "/api/v1/namespaces/kube-system/secrets"
	passwordRejected = "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' " +
		"may not match server node-passwd entry, try enabling a unique node name with the --with-node-id flag"
	nodeNameHeader     = "k3s-Node-Name"
	nodePasswordHeader = "k3s-Node-Password"
	nodeIPHeader       = "k3s-Node-IP"
)

// front is what listens on port 6443: like K3s's supervisor it answers /cacerts and /ping to anybody, serves
// agents that join under /v1-k3s/, and hands everything else to the API server behind it.
type front struct {
	serverCA, clientCA *authority
	clients            *x509.CertPool
	password           string // of the server's own token
	admin              *api
	backend            string
	backendCA          []byte
	proxy              *httputil.ReverseProxy
	config             object
}

// newFront prepares the front. The API server trusts the user names that it puts into the request, because it
// comes with a certificate of the request header CA.
func newFront(serverCA, clientCA *authority, tlsDirectory, backend, password string, admin *api, config object) (*front, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(tlsDirectory, "client-auth-proxy.crt"), filepath.Join(tlsDirectory, "client-auth-proxy.key"))
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(backend)
	if err != nil {
		return nil, err
	}
	f := &front{
		serverCA: serverCA, clientCA: clientCA, clients: x509.NewCertPool(), password: password,
		admin: admin, backend: backend, backendCA: serverCA.bundle, config: config,
	}
	f.clients.AddCert(clientCA.certificate)
	pool := x509.NewCertPool()
	pool.AddCert(serverCA.certificate)
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) { f.rewrite(request, target) },
		Transport: &frontTransport{
			trusted:   upstream(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}),
			anonymous: upstream(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}),
		},
		FlushInterval: -1, // watches and logs must not wait for a full buffer
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler: func(writer http.ResponseWriter, _ *http.Request, _ error) {
			refuse(writer, http.StatusServiceUnavailable, "ServiceUnavailable", "apiserver not ready")
		},
	}
	return f, nil
}

// upstream keeps to HTTP/1.1: exec and port-forward upgrade their connection, which HTTP/2 cannot.
func upstream(config *tls.Config) *http.Transport {
	return &http.Transport{
		TLSClientConfig: config, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, DisableCompression: true,
	}
}

// frontTransport shows the front's own certificate only with requests whose user the front has verified.
type frontTransport struct{ trusted, anonymous *http.Transport }

func (t *frontTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Header.Get("X-Remote-User") != "" {
		return t.trusted.RoundTrip(request)
	}
	return t.anonymous.RoundTrip(request)
}

func (f *front) rewrite(request *httputil.ProxyRequest, target *url.URL) {
	for name := range request.Out.Header {
		if strings.HasPrefix(name, "X-Remote-") {
			request.Out.Header.Del(name) // nobody but the front may say who a caller is
		}
	}
	if user := f.certificateUser(request.In); user != nil {
		request.Out.Header.Set("X-Remote-User", user.Subject.CommonName)
		for _, group := range user.Subject.Organization {
			request.Out.Header.Add("X-Remote-Group", group)
		}
	}
	request.SetURL(target)
	request.Out.Host = request.In.Host
	request.SetXForwarded()
}

// certificateUser is the verified owner of the caller's certificate. An invalid certificate is no error here:
// its caller has no name, and the API answers 401 as it would by itself.
func (f *front) certificateUser(request *http.Request) *x509.Certificate {
	if request.TLS == nil || len(request.TLS.PeerCertificates) == 0 {
		return nil
	}
	leaf := request.TLS.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: f.clients, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil
	}
	return leaf
}

// serve listens until the listener is closed.
func (f *front) serve(listener net.Listener, certificate tls.Certificate) error {
	server := &http.Server{
		Handler:           f,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert,
			ClientCAs: f.clients, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		},
	}
	return server.ServeTLS(listener, "", "")
}

func (f *front) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	switch path := request.URL.Path; {
	case path == "/cacerts":
		answer(writer, "text/plain", f.serverCA.bundle)
	case path == "/ping":
		answer(writer, "text/plain", []byte("pong"))
	case strings.HasPrefix(path, "/v1-k3s/"):
		f.supervise(writer, request)
	default:
		f.proxy.ServeHTTP(writer, request)
	}
}

// supervise serves the agents.
func (f *front) supervise(writer http.ResponseWriter, request *http.Request) {
	code, err := f.authenticate(request)
	if err != nil {
		if code == http.StatusUnauthorized {
			refuse(writer, code, "Unauthorized", "Unauthorized")
		} else {
			refuse(writer, code, "ServiceUnavailable", err.Error())
		}
		return
	}
	what := strings.TrimPrefix(request.URL.Path, "/v1-k3s/")
	switch {
	case what == "config" && request.Method == http.MethodGet:
		data, _ := json.Marshal(f.config)
		answer(writer, jsonType, data)
	case what == "server-ca.crt" && request.Method == http.MethodGet:
		answer(writer, "text/plain", f.serverCA.bundle)
	case what == "client-ca.crt" && request.Method == http.MethodGet:
		answer(writer, "text/plain", f.clientCA.bundle)
	case (what == "client-kubelet.crt" || what == "serving-kubelet.crt") && request.Method == http.MethodPost:
		certificate, code, err := f.certify(request, what)
		if err != nil {
			http.Error(writer, err.Error(), code)
			return
		}
		answer(writer, "text/plain", certificate)
	default:
		http.NotFound(writer, request)
	}
}

// authenticate lets in: a node with its certificate, as long as its Node exists (so an agent outlives its
// token, and a deleted one needs a fresh token); a bootstrap token that the API itself accepts; the server's
// own token.
func (f *front) authenticate(request *http.Request) (int, error) {
	if user := f.certificateUser(request); user != nil {
		name, ok := strings.CutPrefix(user.Subject.CommonName, "system:node:")
		if ok && (request.Header.Get(nodeNameHeader) == name || request.Header.Get(nodeNameHeader) == "") {
			err := f.admin.do(request.Context(), http.MethodGet, "/api/v1/nodes/"+url.PathEscape(name), "", nil, nil)
			if err == nil {
				return 0, nil
			}
			if !hasStatus(err, http.StatusNotFound) {
				return http.StatusServiceUnavailable, fmt.Errorf("apiserver not ready: %w", err)
			}
		}
	}
	if _, password, ok := request.BasicAuth(); ok {
		if subtle.ConstantTimeCompare([]byte(password), []byte(f.password)) == 1 {
			return 0, nil
		}
		return http.StatusUnauthorized, errors.New("wrong token")
	}
	bearer, ok := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return http.StatusUnauthorized, errors.New("no credentials")
	}
	return f.reviewToken(request.Context(), bearer)
}

// reviewToken asks the API who the owner of a bootstrap token is, with nothing but that token.
func (f *front) reviewToken(ctx context.Context, bearer string) (int, error) {
	asker := newAPI(f.backend, f.backendCA, nil)
	defer asker.client.CloseIdleConnections()
	asker.bearer = bearer
	var review struct {
		Status struct {
			UserInfo struct {
				Groups []string `json:"groups"`
			} `json:"userInfo"`
		} `json:"status"`
	}
	question := object{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
	err := asker.do(ctx, http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews", jsonType, question, &review)
	switch {
	case hasStatus(err, http.StatusUnauthorized), hasStatus(err, http.StatusForbidden):
		return http.StatusUnauthorized, err
	case err != nil:
		return http.StatusServiceUnavailable, fmt.Errorf("apiserver not ready: %w", err)
	case !contains(review.Status.UserInfo.Groups, "system:bootstrappers"):
		return http.StatusUnauthorized, errors.New("not a join token")
	}
	return 0, nil
}

// certify signs a node's certificate once the node's password has been checked.
func (f *front) certify(request *http.Request, what string) ([]byte, int, error) {
	name, password := request.Header.Get(nodeNameHeader), request.Header.Get(nodePasswordHeader)
	if name == "" || password == "" || strings.ContainsAny(name, "/ ") {
		return nil, http.StatusBadRequest, errors.New("node name or node password not set")
	}
	if err := ensurePassword(request.Context(), f.admin, name, password); err != nil {
		if err.Error() == passwordRejected {
			return nil, http.StatusForbidden, err
		}
		return nil, http.StatusServiceUnavailable, err
	}
	data, err := io.ReadAll(io.LimitReader(request.Body, 1<<16))
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, http.StatusBadRequest, errors.New("no certificate signing request")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	who, signer := (&node{name: name}).identity(), f.clientCA
	if what == "serving-kubelet.crt" {
		hosts := []string{name, "127.0.0.1", "localhost"}
		for _, address := range strings.Split(request.Header.Get(nodeIPHeader), ",") {
			if net.ParseIP(address) == nil {
				return nil, http.StatusBadRequest, fmt.Errorf("invalid node IP %q", address)
			}
			hosts = append(hosts, address)
		}
		who, signer = identity{name: name, hosts: hosts}, f.serverCA
	}
	certificate, err := signer.sign(who, csr.PublicKey)
	if err != nil {
		return nil, http.StatusInternalServerError, err
	}
	return append(certificate, signer.bundle...), 0, nil
}

// ensurePassword ties a node's name to the machine that first joined with it, in a Secret as K3s does. The
// Secret counts for nothing once its Node is gone.
func ensurePassword(ctx context.Context, admin *api, name, password string) error {
	path := secretsPath + "/" + name + ".node-password.k3s"
	var secret struct {
		Data map[string][]byte `json:"data"`
	}
	err := admin.do(ctx, http.MethodGet, path, "", nil, &secret)
	if err == nil {
		missing := admin.do(ctx, http.MethodGet, "/api/v1/nodes/"+name, "", nil, nil)
		if hasStatus(missing, http.StatusNotFound) {
			if err := admin.do(ctx, http.MethodDelete, path, "", nil, nil); err != nil && !hasStatus(err, http.StatusNotFound) {
				return err
			}
		} else {
			parts := strings.Split(string(secret.Data["hash"]), ":")
			if len(parts) == 3 && parts[2] == hashPassword(parts[1], password) {
				return nil
			}
			return errors.New(passwordRejected)
		}
	} else if !hasStatus(err, http.StatusNotFound) {
		return err
	}
	salt := random(16, hexadecimal)
	body := object{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
		"metadata":   object{"name": name + ".node-password.k3s", "namespace": "kube-system"},
		"stringData": object{"hash": "$1:" + salt + ":" + hashPassword(salt, password)},
	}
	return admin.do(ctx, http.MethodPost, secretsPath, jsonType, body, nil)
}

func hashPassword(salt, password string) string {
	sum := sha256.Sum256([]byte(salt + password))
	return hex.EncodeToString(sum[:])
}

func answer(writer http.ResponseWriter, contentType string, data []byte) {
	writer.Header().Set("Content-Type", contentType)
	_, _ = writer.Write(data)
}

func refuse(writer http.ResponseWriter, code int, reason, message string) {
	writer.Header().Set("Content-Type", jsonType)
	writer.WriteHeader(code)
	_ = json.NewEncoder(writer).Encode(object{
		"kind": "Status", "apiVersion": "v1", "metadata": object{}, "status": "Failure",
		"message": message, "reason": reason, "code": code,
	})
}

// encryptionKey makes the API server's configuration for secrets at rest, at the first start that wants it.
func encryptionKey(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	provider := object{"aescbc": object{"keys": []object{
		{"name": "aescbckey", "secret": base64.StdEncoding.EncodeToString(key)},
	}}}
	data, err := json.Marshal(object{
		"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1",
		"resources": []object{{
			"resources": []string{"secrets"}, "providers": []object{provider, {"identity": object{}}},
		}},
	})
	if err != nil {
		return err
	}
	return writeFile(path, data, 0o600)
}
