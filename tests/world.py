"""A small world for end-to-end tests: a network namespace of its own with this server in it, and behind a cable a second
host that serves git over HTTP and images from a registry. Nothing of it can reach, or be reached from, the real network.
"""
import http.server
import json
import os
import pathlib
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

import harness

SERVER = "192.0.2.1"  # addresses of TEST-NET-1, which is nobody's
OUTSIDE = "192.0.2.2"
GIT_PORT = 8000
REGISTRY_PORT = 5000


def enter_own_namespaces():
    """Starts this program again in network and mount namespaces of its own, unless that was done."""
    if os.environ.get("PINION_TEST_WORLD") == "1" or os.geteuid() != 0:
        return
    os.environ["PINION_TEST_WORLD"] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv])


def run(*command, check=True, **options):
    done = subprocess.run([str(c) for c in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=options.pop("timeout", 120), **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_for(what, condition, seconds=30):
    """Asks until it is so. Polling, for what is outside of this program."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        threading.Event().wait(0.05)


class Outside:
    """The other host: git and a registry on OUTSIDE's address."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        run("mount", "-t", "tmpfs", "none", "/run/netns") if pathlib.Path("/run/netns").is_dir() else None
        run("ip", "link", "set", "lo", "up")
        run("ip", "netns", "add", "outside")
        run("ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns", "outside")
        run("ip", "address", "add", f"{SERVER}/24", "dev", "cable0")
        run("ip", "link", "set", "cable0", "up")
        run("ip", "route", "add", "default", "via", OUTSIDE)
        for command in (f"address add {OUTSIDE}/24 dev cable1", "link set cable1 up", "link set lo up"):
            run("ip", "-n", "outside", *command.split())

    def start_git(self):
        """Bare repositories below folder/git, readable and writable over HTTP."""
        repositories = self.folder / "git"
        repositories.mkdir()
        self._start([sys.executable, __file__, "serve-git", str(repositories)], "git")
        return f"http://{OUTSIDE}:{GIT_PORT}"

    def start_registry(self):
        config = self.folder / "registry.yml"
        config.write_text(json.dumps({"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(self.folder / "registry")}, "delete": {"enabled": True}},
                                      "http": {"addr": f"{OUTSIDE}:{REGISTRY_PORT}"}, "log": {"level": "error"}}))
        self._start(["docker-registry", "serve", str(config)], "registry")
        return f"{OUTSIDE}:{REGISTRY_PORT}"

    def _start(self, command, name):
        log = open(self.folder / f"{name}.log", "wb")
        self.processes.append(subprocess.Popen(["ip", "netns", "exec", "outside", *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        port = GIT_PORT if name == "git" else REGISTRY_PORT
        wait_for(f"{name} listens", lambda: run("bash", "-c", f"exec 3<>/dev/tcp/{OUTSIDE}/{port}", check=False).returncode == 0)

    def push_image(self, reference, files, config=None, modes=None):
        """An image with busybox and these files (path: text or bytes; modes: path: mode), put together by umoci and pushed by skopeo."""
        layout = self.folder / "oci"
        shutil.rmtree(layout, ignore_errors=True)
        bundle = self.folder / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        run("umoci", "init", "--layout", layout)
        run("umoci", "new", "--image", f"{layout}:latest")
        run("umoci", "unpack", "--image", f"{layout}:latest", bundle)
        root = bundle / "rootfs"
        (root / "bin").mkdir(parents=True)
        (root / "tmp").mkdir()
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for applet in run("/bin/busybox", "--list").stdout.split():
            (root / "bin" / applet).symlink_to("busybox") if applet != "busybox" else None
        (root / "etc").mkdir()
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        for path, mode in (modes or {}).items():
            (root / path).chmod(mode)
        run("umoci", "repack", "--image", f"{layout}:latest", bundle)
        for key, value in (config or {}).items():
            run("umoci", "config", "--image", f"{layout}:latest", f"--config.{key}", value)
        run("ip", "netns", "exec", "outside", "skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{OUTSIDE}:{REGISTRY_PORT}/{reference}")

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        # The kernel takes its time to end a namespace: the next class's cable must find its name free.
        run("ip", "link", "delete", "cable0", check=False)
        run("ip", "netns", "delete", "outside", check=False)


class Repository:
    """A bare repository on the other host, and a clone to commit in."""

    def __init__(self, outside, name):
        self.bare = outside.folder / "git" / f"{name}.git"
        self.clone = outside.folder / f"clone-{name}"
        self.url = f"http://{OUTSIDE}:{GIT_PORT}/{name}.git"
        run("git", "init", "-q", "--bare", "-b", "main", self.bare)
        run("git", "-C", self.bare, "config", "http.receivepack", "true")
        run("git", "clone", "-q", self.bare, self.clone)
        run("git", "-C", self.clone, "checkout", "-q", "-B", "main")

    def push(self, message, files):
        for path, content in files.items():
            (self.clone / path).parent.mkdir(parents=True, exist_ok=True)
            (self.clone / path).write_text(content)
        run("git", "-C", self.clone, "add", ".")
        run("git", "-C", self.clone, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", message)
        run("git", "-C", self.clone, "push", "-q", "origin", "main")
        return run("git", "-C", self.clone, "rev-parse", "HEAD").stdout.strip()

    def tags(self):
        return run("git", "-C", self.bare, "tag").stdout.split()


class Server:
    """`pinion quickstart` on SERVER's loopback, with its state below folder."""

    def __init__(self, folder, *options, database=None, port=8080):
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{self.port}"
        self.options = ["--state-dir", str(folder / "state"), "--bind-port", str(self.port), "--add-local-user", "test:test",
                        "--add-local-user", "guest:guest", "--main-team-local-user", "test", *options]
        if database:
            self.options += ["--database-url", database]
        self.process = None

    def start(self):
        self.log = open(self.folder / "server.log", "ab")
        self.process = subprocess.Popen([str(harness.BUILD / "pinion"), "quickstart", *self.options], stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL)
        wait_for("the server answers", self.answers, 60)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("the server ended:\n" + (self.folder / "server.log").read_text()[-4000:])
        return run("curl", "-fs", "-o", "/dev/null", f"{self.url}/api/v1/info", check=False).returncode == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it as an operator does; returns the seconds that took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("no end within 30 s of SIGTERM:\n" + (self.folder / "server.log").read_text()[-4000:])
        return time.monotonic() - started


class Fly:
    """A client, upstream's or our own, with a home of its own."""

    def __init__(self, program, server, folder):
        self.program = [str(p) for p in (program if isinstance(program, list) else [program])]
        self.home = folder
        self.home.mkdir(exist_ok=True)
        self.environment = {**os.environ, "HOME": str(self.home), "TERM": "dumb"}
        self.server = server

    def __call__(self, *arguments, check=True, input=None, timeout=120):
        done = subprocess.run([*self.program, "-t", "test", *map(str, arguments)], text=True, capture_output=True, input=input or "",
                              env=self.environment, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"fly {' '.join(map(str, arguments))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def login(self, user="test"):
        return self("login", "-c", self.server.url, "-u", user, "-p", user)

    def set_pipeline(self, name, config):
        path = self.home / f"{name}.yml"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        self("set-pipeline", "-n", "-p", name, "-c", path)
        self("unpause-pipeline", "-p", name)

    def builds(self, job):
        return json.loads(self("builds", "-j", job, "--json").stdout)

    def wait_for_build(self, job, status="succeeded", name=None, seconds=60):
        def look():
            for build in self.builds(job):
                if name and build["name"] != name:
                    continue
                if build["status"] == status:
                    return build
                if build["status"] in ("failed", "errored", "aborted", "succeeded") and not name:
                    raise AssertionError(f"{job} {build['name']} is {build['status']}:\n" + self("watch", "-b", build["id"], check=False).stdout)
            return None
        try:
            return wait_for(f"{job} is {status}", look, seconds)
        except AssertionError as error:
            builds = self("builds", check=False).stdout
            log = (self.server.folder / "server.log").read_text(errors="replace")[-3000:]
            raise AssertionError(f"{error}\n{builds}\n{log}") from None


class Postgres:
    """A PostgreSQL of the test's own on a Unix socket with an empty database; it can be stopped and started."""

    def __init__(self, test):
        binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not binaries:
            raise harness.unittest.SkipTest("PostgreSQL is not installed")
        self.bin_folder = binaries[-1].parent
        self.folder = temporary_folder(test)
        self.url = f"postgres://postgres@{str(self.folder).replace('/', '%2F')}/postgres"
        self.process = None
        shutil.chown(self.folder, "postgres", "postgres")
        self.run("initdb", "-D", self.folder / "data", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C")
        test.addClassCleanup(self.stop)
        self.start()

    def run(self, program, *arguments, check=True):
        return run("runuser", "-u", "postgres", "--", self.bin_folder / program, *arguments, check=check)

    def psql(self):
        return ["runuser", "-u", "postgres", "--", str(self.bin_folder / "psql"), "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "postgres"]

    def __call__(self, query):
        return run(*self.psql(), "-c", query).stdout.strip()

    def hold(self, query):
        """Runs it in a transaction that stays open: end what is returned by let_go()."""
        session = subprocess.Popen(self.psql(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        session.stdin.write(f"begin;\n{query};\nselect 'held';\n")
        session.stdin.flush()
        for line in session.stdout:
            if line == "held\n":
                return session
        raise AssertionError(f"psql ended: {query}")

    @staticmethod
    def let_go(session):
        session.stdin.close()
        session.wait(10)

    def start(self):
        self.process = subprocess.Popen(["runuser", "-u", "postgres", "--", str(self.bin_folder / "postgres"), "-D", str(self.folder / "data"),
                                         "-k", str(self.folder), "-h", ""],
                                        stdout=open(self.folder / "log", "ab"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_for("PostgreSQL answers", lambda: self.run("psql", "-h", self.folder, "-c", "select 1", "postgres", check=False).returncode == 0)

    def stop(self):
        if not self.process:
            return
        # runuser's child is the server: the whole group goes.
        os.killpg(self.process.pid, signal.SIGQUIT)
        self.process.wait()
        self.process = None


def enter(test):
    """Gives a class of tests, which need root, a folder and what is outside of its server."""
    harness.require_root()
    test.folder = temporary_folder(test)
    test.outside = Outside(test.folder)
    test.addClassCleanup(test.outside.stop)


def temporary_folder(test):
    folder = tempfile.TemporaryDirectory(prefix="pinion-world-", ignore_cleanup_errors=True)
    test.addClassCleanup(folder.cleanup) if isinstance(test, type) else test.addCleanup(folder.cleanup)
    # Root inside containers is nobody here: it must get through.
    os.chmod(folder.name, 0o711)
    return pathlib.Path(folder.name)


class GitHandler(http.server.BaseHTTPRequestHandler):
    """`git http-backend` behind a web server."""

    protocol_version = "HTTP/1.1"
    root = ""

    def answer(self):
        path, _, query = self.path.partition("?")
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        environment = {**os.environ, "GIT_PROJECT_ROOT": self.root, "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
                       "REQUEST_METHOD": self.command, "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
                       "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                       "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            elif name:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *arguments):
        pass


class ThreadingServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


if __name__ == "__main__" and len(sys.argv) > 2 and sys.argv[1] == "serve-git":
    GitHandler.root = sys.argv[2]
    ThreadingServer((OUTSIDE, GIT_PORT), GitHandler).serve_forever()
