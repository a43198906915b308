"""The lab's Kubernetes: a real control plane behind K3s's interface, built from source once and cached."""
