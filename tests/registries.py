"""Image registries for tests: Debian's docker-registry on loopback, and one of Python that lies on request."""
import gzip
import hashlib
import http.client
import http.server
import io
import json
import random
import socket
import subprocess
import tarfile
import threading
import time

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(*entries):
    """A tar stream of (name, text or bytes) files; None for content is a folder, a TarInfo stands for itself."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
                continue
            name, content = entry
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                data = content if isinstance(content, bytes) else content.encode()
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Image:
    """One platform's image: its manifest and every blob, by digest."""

    def __init__(self, *layers, config=None, architecture="amd64", annotations=None, created="2024-01-01T00:00:00Z", level=9):
        self.blobs = {}
        described = []
        for layer in layers:
            data = gzip.compress(layer, level, mtime=0)
            described.append({"mediaType": OCI_LAYER, "size": len(data), "digest": self.blob(data)})
        settings = json.dumps({"architecture": architecture, "os": "linux", "created": created, "config": config or {},
                               "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}}).encode()
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                    "config": {"mediaType": OCI_CONFIG, "size": len(settings), "digest": self.blob(settings)}, "layers": described}
        if annotations:
            manifest["annotations"] = annotations
        self.architecture = architecture
        self.manifest = json.dumps(manifest).encode()
        self.digest = digest_of(self.manifest)

    def blob(self, data):
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def descriptor(self):
        return {"mediaType": OCI_MANIFEST, "size": len(self.manifest), "digest": self.digest,
                "platform": {"os": "linux", "architecture": self.architecture}}


def write_layout(folder, *images):
    """An OCI layout; several images are in one index of it. Returns the digest of what lies in it."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    for image in images:
        for digest, data in [*image.blobs.items(), (image.digest, image.manifest)]:
            (blobs / digest[7:]).write_bytes(data)
    top = images[0].descriptor()
    if len(images) > 1:
        index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [i.descriptor() for i in images]}).encode()
        (blobs / digest_of(index)[7:]).write_bytes(index)
        top = {"mediaType": OCI_INDEX, "size": len(index), "digest": digest_of(index)}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return top["digest"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class DockerRegistry:
    """Debian's docker-registry; `users` is a file of htpasswd."""

    def __init__(self, folder, users=None):
        folder.mkdir()
        self.host = f"127.0.0.1:{free_port()}"
        config = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
                  "http": {"addr": self.host}, "log": {"level": "error"}}
        if users:
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(users)}}
        (folder / "config.yml").write_text(json.dumps(config))
        log = open(folder / "log", "wb")
        self.process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(self.host.split(":"), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError((folder / "log").read_text())
                time.sleep(0.02)

    def push(self, layout, reference, *options):
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--all", "--dest-tls-verify=false", *options, f"oci:{layout}",
                        f"docker://{self.host}/{reference}"], check=True, capture_output=True, text=True)

    def inspect(self, reference, *options):
        """(digest, manifest) as another client sees it."""
        raw = subprocess.run(["skopeo", "inspect", "--raw", "--tls-verify=false", *options, f"docker://{self.host}/{reference}"],
                             check=True, capture_output=True).stdout
        return digest_of(raw), json.loads(raw)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class FakeRegistry:
    """Serves what it is told to, true or not. `certificate` (PEM with key) makes it speak TLS."""

    def __init__(self, certificate=None, token=None, address=("127.0.0.1", 0)):
        self.manifests = {}  # (tag or digest) -> (bytes, media type, digest that is claimed)
        self.blobs = {}
        self.tags = []
        self.asked = []
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def answer(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self):
                registry.asked.append((self.command, self.path))
                if self.path.startswith("/token"):
                    return self.answer(200, json.dumps({"token": token}).encode())
                if token and self.headers.get("Authorization") != f"Bearer {token}":
                    realm = f'Bearer realm="http://{registry.host}/token",service="test"'
                    return self.answer(401, WWW_Authenticate=realm)
                if self.path == "/v2/":
                    return self.answer(200)
                name = self.path.rsplit("/", 1)[1]
                if "/tags/list" in self.path:
                    return self.answer(200, json.dumps({"name": "x", "tags": registry.tags}).encode())
                if "/manifests/" in self.path and name in registry.manifests:
                    data, kind, digest = registry.manifests[name]
                    return self.answer(200, data, Content_Type=kind, Docker_Content_Digest=digest)
                if "/blobs/" in self.path and name in registry.blobs:
                    return self.answer(200, registry.blobs[name])
                return self.answer(404)

            do_HEAD = do_GET

        self.server = http.server.ThreadingHTTPServer(address, Handler)
        self.host = f"{address[0]}:{self.server.server_port}"
        if certificate:
            import ssl
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def add(self, tag, image):
        for reference in (tag, image.digest):
            self.manifests[reference] = (image.manifest, OCI_MANIFEST, image.digest)
        self.blobs.update(image.blobs)
        self.tags.append(tag)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class CuttingProxy:
    """Passes requests on to a registry; breaks off each blob at so many random bytes, and counts what it sent of it."""

    def __init__(self, registry, cuts, seed=1):
        self.sent, self.cuts, self.starts = {}, {}, {}
        proxy = self
        chooser = random.Random(seed)
        lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                connection = http.client.HTTPConnection(registry)
                connection.putrequest(self.command, self.path, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("host", "connection"):
                        connection.putheader(name, value)
                connection.endheaders()
                answer = connection.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                        self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return connection.close()
                size = int(answer.headers.get("Content-Length", 0))
                at = start_of(answer.headers.get("Content-Range"))
                blob = self.path.rsplit("/", 1)[1] if "/blobs/" in self.path else None
                end = at + size
                with lock:
                    if blob:
                        proxy.starts.setdefault(blob, []).append(at)
                    if blob and blob not in proxy.cuts:
                        proxy.cuts[blob] = sorted(chooser.randrange(1, max(2, size)) for _ in range(cuts))
                    cut = next((cut for cut in proxy.cuts.get(blob, []) if cut > at), None)
                    if cut is not None and cut < end:
                        end = cut
                self.wfile.flush()
                while at < end:
                    piece = answer.read(min(1 << 16, end - at))
                    if not piece:
                        break
                    self.wfile.write(piece)
                    at += len(piece)
                    if blob:
                        with lock:
                            proxy.sent[blob] = proxy.sent.get(blob, 0) + len(piece)
                connection.close()
                self.close_connection = self.close_connection or cut is not None

            do_HEAD = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def start_of(content_range):
    return int(content_range.split()[1].split("-")[0]) if content_range else 0
