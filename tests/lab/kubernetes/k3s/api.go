package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	jsonType  = "application/json"
	mergeType = "application/merge-patch+json"
)

// object is any Kubernetes object. The stand-in needs a handful of fields, not the API's Go types.
type object = map[string]any

// api talks to a kube-apiserver.
type api struct {
	base   string
	client *http.Client
	bearer string
}

// statusError is the API's refusal.
type statusError struct {
	code    int
	message string
}

func (e *statusError) Error() string { return e.message }

func hasStatus(err error, code int) bool {
	var status *statusError
	return errors.As(err, &status) && status.code == code
}

func newAPI(base string, ca []byte, certificate *tls.Certificate) *api {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	transport := &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute}
	return &api{base: base, client: &http.Client{Transport: transport, Timeout: 15 * time.Second}}
}

// do sends one request. `body` and `into` may be nil.
func (a *api) do(ctx context.Context, method, path, contentType string, body, into any) error {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, reader)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", jsonType)
	if body != nil {
		request.Header.Set("Content-Type", contentType)
	}
	if a.bearer != "" {
		request.Header.Set("Authorization", "Bearer "+a.bearer)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		var status struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(data, &status) != nil || status.Message == "" {
			status.Message = response.Status
		}
		return &statusError{code: response.StatusCode, message: status.Message}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

// kubeconfig is the file format that kubectl, kwok and the control plane read.
type kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Clusters       []namedCluster `json:"clusters"`
	Contexts       []namedContext `json:"contexts"`
	CurrentContext string         `json:"current-context"`
	Kind           string         `json:"kind"`
	Preferences    object         `json:"preferences"`
	Users          []namedUser    `json:"users"`
}

type namedCluster struct {
	Cluster struct {
		CAData string `json:"certificate-authority-data"`
		Server string `json:"server"`
	} `json:"cluster"`
	Name string `json:"name"`
}

type namedContext struct {
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
	Name string `json:"name"`
}

type namedUser struct {
	Name string `json:"name"`
	User struct {
		CertificateData string `json:"client-certificate-data"`
		KeyData         string `json:"client-key-data"`
	} `json:"user"`
}

// writeKubeconfig writes a kubeconfig with everything in it, named as K3s names it.
func writeKubeconfig(path, server string, ca []byte, directory, file string, mode os.FileMode) error {
	certificate, err := os.ReadFile(filepath.Join(directory, file+".crt"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(directory, file+".key"))
	if err != nil {
		return err
	}
	config := kubeconfig{
		APIVersion: "v1", Kind: "Config", CurrentContext: "default", Preferences: object{},
		Clusters: make([]namedCluster, 1), Contexts: make([]namedContext, 1), Users: make([]namedUser, 1),
	}
	config.Clusters[0].Name, config.Contexts[0].Name, config.Users[0].Name = "default", "default", "default"
	config.Clusters[0].Cluster.Server = server
	config.Clusters[0].Cluster.CAData = base64.StdEncoding.EncodeToString(ca)
	config.Contexts[0].Context.Cluster, config.Contexts[0].Context.User = "default", "default"
	config.Users[0].User.CertificateData = base64.StdEncoding.EncodeToString(certificate)
	config.Users[0].User.KeyData = base64.StdEncoding.EncodeToString(key)
	data, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	return writeFile(path, data, mode)
}

// fromKubeconfig makes a client from a kubeconfig, and says which certificate authority it trusts.
func fromKubeconfig(path string) (*api, []byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var config kubeconfig
	if err := yaml.Unmarshal(data, &config); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(config.Clusters) != 1 || len(config.Users) != 1 {
		return nil, nil, fmt.Errorf("%s: expected one cluster and one user", path)
	}
	parts := make([][]byte, 3)
	for i, encoded := range []string{
		config.Clusters[0].Cluster.CAData, config.Users[0].User.CertificateData, config.Users[0].User.KeyData,
	} {
		if parts[i], err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	pair, err := tls.X509KeyPair(parts[1], parts[2])
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return newAPI(config.Clusters[0].Cluster.Server, parts[0], &pair), parts[0], nil
}
