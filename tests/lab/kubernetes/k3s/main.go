// Command k3s is the lab's stand-in for K3s.
//
// It has K3s's interface (subcommands, flags, configuration files, paths, messages, the unit's protocol)
// around a real control plane: kine, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl,
// which lie in a directory that the lab mounts into every host. Containers don't run: kwok plays the kubelet.
// What it does not model it refuses or says so in its log; it never pretends.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// version is what the stand-in claims to be; the build sets it.
var version = "v0.0.0+k3s1"

// commit stands where a real K3s names the commit it was built from.
const commit = "01ab01ab"

const usage = `NAME:
   k3s - Kubernetes, but small and simple (the lab's stand-in)

USAGE:
   k3s [global options] command [command options]

COMMANDS:
   server           Run management server
   agent            Run node agent
   kubectl          Run kubectl
   token            Manage bootstrap tokens
   secrets-encrypt  Control secrets encryption and keys rotation
   help, h          Shows a list of commands or help for one command

GLOBAL OPTIONS:
   --help, -h     show help
   --version, -v  print the version
`

// absent are commands of a real K3s that have nothing to work on in the lab.
var absent = []string{"crictl", "ctr", "check-config", "etcd-snapshot", "certificate", "completion"}

func main() {
	record(os.Args)
	err := run(os.Args)
	var code exitCode
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	default:
		logf("fatal", "%v", err)
		os.Exit(1)
	}
}

// exitCode is an error that has been told to the user already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func run(args []string) error {
	if name := filepath.Base(args[0]); name == "kubectl" || contains(absent, name) {
		args = append([]string{"k3s", name}, args[1:]...) // called by one of the installer's symlinks
	}
	if len(args) < 2 {
		fmt.Print(usage)
		return nil
	}
	command, rest := args[1], args[2:]
	switch command {
	case "help", "h", "--help", "-h":
		fmt.Print(usage)
		return nil
	case "--version", "-v":
		fmt.Printf("k3s version %s (%s)\ngo version %s\n", version, commit, runtime.Version())
		return nil
	case "server":
		set, err := readOptions(onServer, rest)
		if err != nil {
			return err
		}
		return runServer(set)
	case "agent":
		set, err := readOptions(onAgent, rest)
		if err != nil {
			return err
		}
		return runAgent(set)
	case "kubectl":
		return kubectl(rest)
	case "token":
		return tokenCommand(rest)
	case "secrets-encrypt":
		return encryptCommand(rest)
	}
	if contains(absent, command) {
		return fmt.Errorf("k3s %s: the lab's stand-in does not model this command", command)
	}
	if strings.HasPrefix(command, "-") {
		fmt.Printf("Incorrect Usage: flag provided but not defined: -%s\n\n%s", strings.TrimLeft(command, "-"), usage)
		return fmt.Errorf("flag provided but not defined: -%s", strings.TrimLeft(command, "-"))
	}
	fmt.Printf("No help topic for '%s'\n", command)
	return exitCode(3)
}

// kubectl becomes the real kubectl, with the server's kubeconfig unless the caller named another.
func kubectl(args []string) error {
	if os.Getenv("KUBECONFIG") == "" {
		if err := os.Setenv("KUBECONFIG", defaultKubeconfig); err != nil {
			return err
		}
	}
	program := tool("kubectl")
	err := syscall.Exec(program, append([]string{"kubectl"}, args...), os.Environ())
	return fmt.Errorf("%s: %w", program, err)
}

// tool is the path of one of the real programs.
func tool(name string) string {
	directory := os.Getenv("K3S_LAB_TOOLS")
	if directory == "" {
		directory = "/opt/lab-tools"
	}
	return filepath.Join(directory, name)
}

func contains(list []string, wanted string) bool {
	for _, entry := range list {
		if entry == wanted {
			return true
		}
	}
	return false
}
