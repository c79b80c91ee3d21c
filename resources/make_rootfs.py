#!/usr/bin/env python3
"""Assembles a resource type's folder from a program and files of this machine's Debian packages.

  make_rootfs.py OUT --type NAME [--program FILE] [--copy PATH ...] [--tree PATH ...]
                 [--script DIR] [--privileged] [--unique-version-history]

OUT gets rootfs.tgz and resource_metadata.json, the layout of upstream's resource types. Into the root
file system go: busybox with a link for every applet, bash, the program as /opt/resource/{check,in,out},
each --copy and --tree with the libraries that their binaries load, users and certificates. The archive
depends on nothing but its content: same input, same bytes.
"""
import argparse
import gzip
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile

PASSWD = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/sbin/nologin
adm:x:3:4:adm:/var/adm:/sbin/nologin
news:x:9:13:news:/usr/lib/news:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/bin/bash
nobody:x:65534:65534:nobody:/:/sbin/nologin
"""
GROUP = """root:x:0:
daemon:x:1:
adm:x:4:
tty:x:5:
news:x:13:
nonroot:x:65532:
nogroup:x:65534:
"""


class Root:
    """The files of the root file system, by path."""

    def __init__(self):
        self.entries = {}

    def folder(self, path, mode=0o755):
        path = path.strip("/")
        if path and path not in self.entries:
            self.folder(os.path.dirname(path))
            self.entries[path] = ("folder", mode, None)

    def file(self, path, content, mode=0o644):
        path = path.strip("/")
        self.folder(os.path.dirname(path))
        self.entries[path] = ("file", mode, content)

    def link(self, path, target):
        path = path.strip("/")
        self.folder(os.path.dirname(path))
        self.entries.setdefault(path, ("link", 0o777, target))

    def copy(self, source):
        """A file of this machine at the same place, with the libraries that it loads."""
        source = pathlib.Path(source)
        if source.is_symlink():
            self.link(str(source), os.readlink(source))
            self.copy(os.path.normpath(source.parent / os.readlink(source)))
            return
        if str(source).strip("/") in self.entries:
            return
        content = source.read_bytes()
        self.file(str(source), content, source.stat().st_mode & 0o7777)
        if content.startswith(b"\x7fELF"):
            self.libraries(source)

    def libraries(self, binary):
        listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True)
        for library in re.findall(r"(?:=> )?(/[^ ]+) \(0x", listed.stdout):
            self.copy(library)

    def tree(self, source):
        for path in sorted(pathlib.Path(source).rglob("*")):
            if path.exists() and not path.is_dir():  # links to nowhere stay out
                self.copy(path)

    def write(self, out):
        with open(out, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0) as zipped:
            with tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for path in sorted(self.entries):
                    kind, mode, content = self.entries[path]
                    info = tarfile.TarInfo("./" + path)
                    info.mode = mode
                    if kind == "folder":
                        info.type = tarfile.DIRTYPE
                        archive.addfile(info)
                    elif kind == "link":
                        info.type, info.linkname = tarfile.SYMTYPE, content
                        archive.addfile(info)
                    else:
                        info.size = len(content)
                        archive.addfile(info, io.BytesIO(content))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--type", required=True)
    parser.add_argument("--program", type=pathlib.Path)
    parser.add_argument("--script", type=pathlib.Path, help="folder with check, in and out")
    parser.add_argument("--copy", action="append", default=[])
    parser.add_argument("--tree", action="append", default=[])
    parser.add_argument("--privileged", action="store_true")
    parser.add_argument("--unique-version-history", action="store_true")
    options = parser.parse_args()

    root = Root()
    for folder in ("bin", "sbin", "usr/sbin", "dev", "proc", "sys", "etc", "var/adm", "run", "home/nonroot", "opt/resource"):
        root.folder(folder)
    root.folder("tmp", 0o1777)
    root.folder("root", 0o700)
    root.file("etc/passwd", PASSWD.encode())
    root.file("etc/group", GROUP.encode())
    root.file("etc/nsswitch.conf", b"hosts: files dns\n")
    root.file("bin/busybox", pathlib.Path("/bin/busybox").read_bytes(), 0o755)
    for copied in ["/bin/bash", *options.copy]:
        root.copy(copied)
    for tree in options.tree:
        root.tree(tree)
    # What is there by itself stays; busybox fills the gaps.
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if not any(f"{folder}/{applet}" in root.entries for folder in ("bin", "usr/bin", "sbin", "usr/sbin")):
            root.link(f"bin/{applet}", "busybox")
    root.link("usr/bin/env", "/bin/busybox")
    if options.program:
        root.file("opt/resource/in", options.program.read_bytes(), 0o755)
        root.libraries(options.program)
        root.link("opt/resource/check", "in")
        root.link("opt/resource/out", "in")
    if options.script:
        for path in sorted(options.script.iterdir()):
            if path.is_file() and path.suffix == "":
                root.file(f"opt/resource/{path.name}", path.read_bytes(), 0o755)

    options.out.mkdir(parents=True, exist_ok=True)
    root.write(options.out / "rootfs.tgz")
    digest = subprocess.run(["sha256sum", options.out / "rootfs.tgz"], capture_output=True, text=True, check=True).stdout[:16]
    metadata = {"type": options.type, "version": digest, "privileged": options.privileged,
                "unique_version_history": options.unique_version_history}
    (options.out / "resource_metadata.json").write_text(json.dumps(metadata) + "\n")


if __name__ == "__main__":
    main()
