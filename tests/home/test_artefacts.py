"""What is downloaded, and how strictly lists of checksums are read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homek8s_tui.base.troubles import Trouble
from homek8s_tui.home import artefacts, inventory
from homek8s_tui.home.inventory import Artefacts

HOME = inventory.parse(inventory.commented())
MIRRORED = msgspec.structs.replace(HOME, artefacts=Artefacts(mirror="https://m.example/files"))
SHA = "0123456789abcdef" * 4
K3S = "https://github.com/k3s-io/k3s/releases/download/v1.36.3%2Bk3s1"
TRAEFIK = "https://github.com/traefik/traefik/releases/download/v3.7.15"


@pytest.mark.parametrize(
    ("architecture", "file", "checksums"),
    [
        ("x86_64", "k3s", "sha256sum-amd64.txt"),
        ("aarch64", "k3s-arm64", "sha256sum-arm64.txt"),
        ("armv7l", "k3s-armhf", "sha256sum-arm.txt"),
    ],
)
def test_k3s(architecture: str, file: str, checksums: str) -> None:
    key = f"k3s/v1.36.3+k3s1/{file}"
    found = artefacts.k3s_binary(HOME, architecture)
    assert found == artefacts.Download(key, f"{K3S}/{file}", f"{K3S}/{checksums}")
    assert found.file == file
    mirrored = artefacts.k3s_binary(MIRRORED, architecture)
    there = "https://m.example/files/k3s/v1.36.3+k3s1"
    assert mirrored == artefacts.Download(key, f"{there}/{file}", f"{there}/{checksums}")


def test_the_installer() -> None:
    key = "k3s/v1.36.3+k3s1/install.sh"
    upstream = "https://raw.githubusercontent.com/k3s-io/k3s/v1.36.3%2Bk3s1/install.sh"
    assert artefacts.k3s_installer(HOME) == artefacts.Download(key, upstream, None)
    assert artefacts.k3s_installer(MIRRORED) == artefacts.Download(key, f"https://m.example/files/{key}", None)


@pytest.mark.parametrize(("architecture", "name"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("armv7l", "armv7")])
def test_traefik(architecture: str, name: str) -> None:
    file = f"traefik_v3.7.15_linux_{name}.tar.gz"
    key = f"traefik/v3.7.15/{file}"
    checksums = f"{TRAEFIK}/traefik_v3.7.15_checksums.txt"
    assert artefacts.traefik_archive(HOME, architecture) == artefacts.Download(key, f"{TRAEFIK}/{file}", checksums)
    assert artefacts.traefik_archive(MIRRORED, architecture).url == f"https://m.example/files/{key}"


@pytest.mark.parametrize("architecture", ["riscv64", "", "x86_64\n", "\x1b[31mred"])
def test_an_unknown_architecture_is_a_trouble(architecture: str) -> None:
    for choose in (artefacts.k3s_binary, artefacts.traefik_archive):
        with pytest.raises(Trouble) as caught:
            choose(HOME, architecture)
        assert "x86_64, aarch64, armv7l" in str(caught.value)
        assert "\x1b" not in str(caught.value)


def test_every_key_can_be_pinned() -> None:
    found = [artefacts.k3s_installer(HOME)]
    for architecture in ("x86_64", "aarch64", "armv7l"):
        found += [artefacts.k3s_binary(HOME, architecture), artefacts.traefik_archive(HOME, architecture)]
    pins = {download.key: SHA for download in found}
    assert inventory.parse(inventory.with_checksums(inventory.commented(), pins)).artefacts.checksums == pins


def test_lists_of_checksums() -> None:
    text = f"{SHA}  k3s\n{SHA.upper()} *k3s-images.tar.zst\r\n\n{SHA}  ./traefik_v3.7.15_linux_arm64.tar.gz"
    names = ["k3s", "k3s-images.tar.zst", "traefik_v3.7.15_linux_arm64.tar.gz"]
    assert artefacts.parse_checksums(text) == dict.fromkeys(names, SHA)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "<html>not found</html>",
        f"{SHA} k3s",
        f"{SHA}   k3s",
        f"{SHA}\tk3s",
        f" {SHA}  k3s",
        f"{SHA}  k3s ",
        f"{SHA[:-1]}  k3s",
        f"{SHA}0  k3s",
        f"{SHA}  ../k3s",
        f"{SHA}  a/b",
        f"{SHA}  ",
        f"{SHA}  k3s\n{SHA}  k3s",
        f"{SHA}  k3s\n{SHA}  ./k3s",
        f"{SHA}  k3s\x1b[31m",
        f"{SHA}  k3s\n" * 9999,
    ],
)
def test_bad_lists_are_troubles(text: str) -> None:
    with pytest.raises(Trouble) as caught:
        artefacts.parse_checksums(text)
    assert "\x1b" not in str(caught.value)


@given(st.text() | st.lists(st.sampled_from([SHA, "  ", " *", "k3s", "./", "\n", "\r", "\x85", "é"])).map("".join))
def test_any_text_gives_digests_or_a_trouble(text: str) -> None:
    try:
        found = artefacts.parse_checksums(text)
    except Trouble:
        return
    assert found
    assert all(len(digest) == 64 and "/" not in name for name, digest in found.items())
