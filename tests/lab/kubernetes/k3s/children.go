package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// children are the programs that a real K3s has inside its one process. So they share its fate: when one ends,
// all end and the unit fails, and when the stand-in is killed the kernel kills them too.
type children struct {
	spawn   chan func()
	ended   chan error
	lock    sync.Mutex // a stop can come while the start is still under way
	running []*child
}

type child struct {
	name string
	cmd  *exec.Cmd
	gone chan struct{}
}

func newChildren() *children {
	c := &children{spawn: make(chan func()), ended: make(chan error, 16)}
	go func() {
		// The kernel sends a parent-death signal when the *thread* that started a child ends.
		runtime.LockOSThread()
		for start := range c.spawn {
			start()
		}
	}()
	return c
}

func (c *children) start(name string, args ...string) error {
	cmd := exec.Command(tool(name), args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "NOTIFY_SOCKET=") && !strings.HasPrefix(entry, "K3S_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	failed := make(chan error)
	c.spawn <- func() { failed <- cmd.Start() }
	if err := <-failed; err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	started := &child{name: name, cmd: cmd, gone: make(chan struct{})}
	c.lock.Lock()
	c.running = append(c.running, started)
	c.lock.Unlock()
	go func() {
		err := cmd.Wait()
		close(started.gone)
		c.ended <- fmt.Errorf("%s exited: %v", name, err)
	}()
	return nil
}

// stop ends the given children: asked first, then made to.
func (c *children) stop(patience time.Duration, names ...string) {
	deadline := time.After(patience)
	waiting := []*child{}
	c.lock.Lock()
	running := append([]*child{}, c.running...)
	c.lock.Unlock()
	for _, child := range running {
		if contains(names, child.name) {
			_ = child.cmd.Process.Signal(syscall.SIGTERM)
			waiting = append(waiting, child)
		}
	}
	for _, child := range waiting {
		select {
		case <-child.gone:
		case <-deadline:
			expired := make(chan time.Time)
			close(expired)
			deadline = expired
			_ = child.cmd.Process.Kill()
			<-child.gone
		}
	}
}

// shutdown ends all of them, the datastore last. The API server gets little time: with a watch open it would
// take a minute to leave, and it keeps nothing that the datastore has not got.
func (c *children) shutdown() {
	c.stop(700*time.Millisecond, "kwok", "kube-scheduler", "kube-controller-manager", "kube-apiserver")
	c.stop(3*time.Second, "kine")
}

// stopSignals delivers what systemd sends to end a unit.
func stopSignals() chan os.Signal {
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	return stop
}

// notifyReady tells systemd that the unit has started (Type=notify).
func notifyReady() {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return
	}
	connection, err := net.Dial("unixgram", address)
	if err != nil {
		logf("error", "Failed to notify systemd: %v", err)
		return
	}
	defer connection.Close()
	if _, err := connection.Write([]byte("READY=1")); err != nil {
		logf("error", "Failed to notify systemd: %v", err)
	}
}

// startKwok runs the kubelet's understudy for one node.
//
// The stages lie beside the programs; what a test wants on top (logs, exec) lies in K3S_LAB_KWOK of the host.
func (c *children) startKwok(node *node, kubeconfig, certificates, podCIDR string) error {
	extra := os.Getenv("K3S_LAB_KWOK")
	if extra == "" {
		extra = "/etc/homek8s-lab/kwok"
	}
	stages, err := filepath.Glob(filepath.Join(tool("kwok-stages"), "*.yaml"))
	if err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(extra, "*.yaml"))
	if err != nil {
		return err
	}
	lease := os.Getenv("K3S_LAB_LEASE_SECONDS")
	if lease == "" {
		lease = "40"
	}
	args := []string{
		"--kubeconfig", kubeconfig, "--manage-single-node", node.name, "--node-ip", node.addresses[0],
		"--node-port", "10250", "--server-address", net.JoinHostPort(node.addresses[0], "10250"),
		"--tls-cert-file", filepath.Join(certificates, "serving-kubelet.crt"),
		"--tls-private-key-file", filepath.Join(certificates, "serving-kubelet.key"),
		"--node-lease-duration-seconds", lease, "--cidr", podCIDR,
	}
	files := append(stages, more...)
	sort.Strings(files)
	for _, file := range files {
		args = append(args, "--config", file)
	}
	return c.start("kwok", args...)
}
