"""What pyinfra holds on a machine: the resources that the inventory, made from our plan, names for it."""

from pyinfra import host
from pyinfra.operations import apt, files, server, systemd

for packages in host.data.packages:
    apt.packages(name=f"{host.name} packages {packages['names']}", packages=packages["names"], no_recommends=True)

for user in host.data.users:
    server.user(
        name=f"{host.name} user {user['name']}",
        user=user["name"],
        home=user["home"],
        shell=user["shell"],
        system=True,
        ensure_home=False,
    )

for file in host.data.files:
    files.put(
        name=f"{host.name} file {file['path']}",
        src=file["src"],
        dest=file["path"],
        user=file["owner"],
        group=file["group"],
        mode=file["mode"],
    )

for unit in host.data.units:
    systemd.service(
        name=f"{host.name} unit {unit['name']}", service=unit["name"], enabled=unit["enabled"], running=unit["active"]
    )
