"""The operator's kubeconfig is parsed, never patched as text."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from homek8s_tui.base.troubles import Trouble
from homek8s_tui.engine.kubeconfig import Kubeconfig, credentials

SOURCE = """\
apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: Q0E=}}]
users: [{name: default, user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
"""
MINE = """\
# work
apiVersion: v1
kind: Config
clusters:
- name: work  # the office
  cluster: {server: "https://work:6443"}
users: []
contexts:
- name: work
  context: {cluster: work, user: me}
current-context: work
"""


def test_a_context_is_added_and_removed_and_the_rest_stays(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(MINE)
    editor = Kubeconfig()
    assert editor.state(str(file), "home") == "absent"
    editor.put(str(file), "home", "https://home.example:6443", SOURCE)
    assert (
        editor.state(str(file), "home")
        == "context https://home.example:6443 " + hashlib.sha256(b"Q0VSVA==").hexdigest()
    )
    assert "# the office" in file.read_text()
    assert "current-context: work" in file.read_text()
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    found = credentials(str(file), "home")
    assert found is not None
    assert (found.host, found.port, found.authority, found.key) == ("home.example", 6443, "CA", "KEY")
    assert "KEY" not in repr(found)
    editor.put(str(file), "home", "https://other.example:6443", SOURCE)
    assert file.read_text().count("name: home") == 3
    editor.remove(str(file), "home")
    assert editor.state(str(file), "home") == "absent"
    assert "# the office" in file.read_text()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["config"]


def test_a_file_that_only_held_our_context_goes(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config"
    Kubeconfig().put(str(file), "home", "https://home.example:6443", SOURCE)
    assert "current-context: home" in file.read_text()
    Kubeconfig().remove(str(file), "home")
    assert not file.exists()


@pytest.mark.parametrize("text", ["[", "- a", "a: [", "\tx"])
def test_a_broken_file_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(Trouble, match="read the kubeconfig"):
        Kubeconfig().put(str(file), "home", "https://home.example:6443", SOURCE)
    assert file.read_text() == text
