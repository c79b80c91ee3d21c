#!/usr/bin/env python3
"""The built-in registry-image type's program against Debian's docker-registry and against registries that lie.

Usage: test_registry_image.py BUILD_FOLDER [--gtest_output=json:FILE]
"""
import json
import os
import pathlib
import platform
import random
import shutil
import stat
import subprocess
import tarfile
import tempfile
import unittest

import harness
from registries import CuttingProxy, DockerRegistry, FakeRegistry, Image, digest_of, tar, write_layout
from test_resources import ResourceCase

HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
BASE = tar(("bin", None), ("bin/tool", "tool"), ("etc", None), ("etc/old", "old"), ("etc/kept", "kept"), ("srv", None), ("srv/below", "x"))
UPPER = tar(("etc/.wh.old", ""), ("etc/new", "new"), ("srv/.wh..wh..opq", ""), ("srv/above", "y"))
CONFIG = {"Env": ["A=b"], "User": "nobody", "Entrypoint": ["/bin/tool"], "Cmd": ["go"],
          "Labels": {"org.example.two": "2", "org.example.one": "1", "other": "3"}}


class ImageCase(ResourceCase):
    TYPE = "registry_image"

    def layout(self, name, *images):
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder, write_layout(folder, *images)

    def fetch(self, source, digest, tag="latest", **params):
        self.out = self.folder / "out"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        return self.resource.run("in", {"source": source, "version": {"tag": tag, "digest": digest}, "params": params}, str(self.out))

    def fetched(self, source, digest, tag="latest", **params):
        done = self.fetch(source, digest, tag, **params)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)


class RegistryTest(ImageCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.shared.cleanup)
        cls.registry = DockerRegistry(pathlib.Path(cls.shared.name) / "registry")
        cls.addClassCleanup(cls.registry.stop)

    def source(self, **more):
        return {"repository": f"{self.registry.host}/{self._testMethodName[:60].lower()}", **more}

    def push(self, *tags, content="x", **image):
        """Another image for these tags; returns its digest."""
        folder, digest = self.layout("pushed", Image(BASE, tar(("content", content)), architecture=HERE, **image))
        for tag in tags:
            self.registry.push(folder, f"{self._testMethodName[:60].lower()}:{tag}")
        return digest

    def check(self, version=None, **source):
        request = {"source": self.source(**source)}
        if version:
            request["version"] = version
        return [(v["tag"], v["digest"]) for v in self.resource.ok("check", request)]

    def test_check_of_a_tag(self):
        self.assertEqual(self.check(tag="one"), [])
        first = self.push("one", content="1")
        self.assertEqual(self.check(tag="one"), [("one", first)])
        second = self.push("one", content="2")
        self.assertEqual(self.check({"tag": "one", "digest": first}, tag="one"), [("one", first), ("one", second)])
        self.assertEqual(self.check({"tag": "one", "digest": "sha256:" + "0" * 64}, tag="one"), [("one", second)])
        self.assertEqual(self.check({"tag": "one", "digest": second}, tag="one"), [("one", second)])
        number = self.push("7", content="7")
        self.assertEqual(self.check(tag=7), [("7", number)])

    def test_check_of_versions(self):
        old = self.push("1.0.0", "1.0", content="1.0.0")
        new = self.push("1.2.3", "1", "1.2", "latest", content="1.2.3")
        two = self.push("v2.0", content="2.0")
        candidate = self.push("2.1.0-rc.1", content="rc")
        build = self.push("2.1.0-build.2", content="build")
        variant = self.push("1.2.3-alpine", content="alpine")
        self.push("nonsense", content="nonsense")
        self.assertEqual(self.check(), [("1.0.0", old), ("1.2.3", new), ("v2.0", two)])
        self.assertEqual(self.check({"tag": "1.2.3", "digest": new}), [("1.2.3", new), ("v2.0", two)])
        # A version that moved is looked at anew, with all others.
        self.assertEqual(self.check({"tag": "1.2.3", "digest": old}), [("1.0.0", old), ("1.2.3", new), ("v2.0", two)])
        self.assertEqual(self.check(pre_releases=True), [("1.0.0", old), ("1.2.3", new), ("v2.0", two), ("2.1.0-rc.1", candidate)])
        self.assertEqual(self.check(pre_releases=True, pre_release_prefixes=["build"])[3:], [("2.1.0-build.2", build), ("2.1.0-rc.1", candidate)])
        self.assertEqual(self.check(variant="alpine"), [("1.2.3-alpine", variant)])
        self.assertEqual(self.check(semver_constraint=">= 1.1 < 2"), [("1.2.3", new)])
        self.assertEqual(self.check(semver_constraint="~1.2 || ^2"), [("1.2.3", new), ("v2.0", two)])
        last = self.push("latest", content="newest")
        self.assertEqual(self.check()[-1], ("latest", last))
        self.assertEqual(self.check(semver_constraint="*"), [("1.0.0", old), ("1.2.3", new), ("v2.0", two)])

    def test_check_of_a_pattern(self):
        newer = self.push("a-2", content="2", created="2024-03-01T00:00:00Z")
        older = self.push("b-1", content="1", created="2024-03-01T01:00:00.5+02:00")
        self.push("other", content="o")
        self.assertEqual(self.check(tag_regex="^[a-z]-[0-9]$"), [("a-2", newer), ("b-1", older)])
        self.assertEqual(self.check(tag_regex="-[0-9]", created_at_sort=True), [("b-1", older), ("a-2", newer)])

    def test_in_unpacks_the_layers(self):
        folder, digest = self.layout("layers", Image(BASE, UPPER, config=CONFIG, architecture=HERE, annotations={"com.example.a": "b"}))
        source = self.source(label_regex=r"^org\.example\.", annotation_regex="^com")
        self.registry.push(folder, source["repository"].split("/", 1)[1] + ":latest")
        answer = self.fetched(source, digest)
        self.assertEqual(answer["version"], {"tag": "latest", "digest": digest})
        self.assertEqual([(f["name"], f["value"]) for f in answer["metadata"]],
                         [("repository", source["repository"]), ("tag", "latest"), ("org.example.one", "1"), ("org.example.two", "2"), ("com.example.a", "b")])
        files = sorted(str(p.relative_to(self.out / "rootfs")) for p in (self.out / "rootfs").rglob("*") if p.is_file())
        self.assertEqual(files, ["bin/tool", "etc/kept", "etc/new", "srv/above"])
        self.assertEqual(json.loads((self.out / "metadata.json").read_text()),
                         {"env": ["A=b"], "user": "nobody", "entrypoint": ["/bin/tool"], "cmd": ["go"]})
        self.assertEqual(json.loads((self.out / "labels.json").read_text()), CONFIG["Labels"])
        self.assertEqual([(self.out / n).read_text() for n in ("repository", "tag", "digest")], [source["repository"], "latest", digest])

    def test_in_goes_on_where_a_transfer_was_cut(self):
        layers = [tar((f"layer-{number}", random.Random(number).randbytes(3 << 20))) for number in range(2)]
        image = Image(*layers, architecture=HERE, level=1)
        folder, digest = self.layout("pushed", image)
        self.registry.push(folder, f"{self._testMethodName[:60].lower()}:latest")
        proxy = CuttingProxy(self.registry.host, cuts=10)
        self.addCleanup(proxy.stop)
        self.fetched({"repository": f"{proxy.host}/{self._testMethodName[:60].lower()}"}, digest)
        for number, layer in enumerate(layers):
            content = (self.out / "rootfs" / f"layer-{number}").read_bytes()
            self.assertEqual(digest_of(tar((f"layer-{number}", content))), digest_of(layer))
        for name, blob in image.blobs.items():
            self.assertEqual(proxy.sent[name], len(blob), f"{name} began at {proxy.starts[name]}, was cut at {proxy.cuts[name]}")
            self.assertEqual(len(proxy.starts[name]), len(set(proxy.cuts[name])) + 1)

    def test_in_takes_the_platform(self):
        images = [Image(tar(("for", name)), architecture=name) for name in (HERE, "s390x")]
        folder, digest = self.layout("index", *images)
        source = self.source()
        self.registry.push(folder, source["repository"].split("/", 1)[1] + ":latest")
        self.fetched(source, digest)
        self.assertEqual((self.out / "rootfs/for").read_text(), HERE)
        self.fetched({**source, "platform": {"architecture": HERE}}, digest, platform={"architecture": "s390x"})
        self.assertEqual((self.out / "rootfs/for").read_text(), "s390x")
        done = self.fetch({**source, "platform": {"architecture": "mips"}}, digest)
        self.assertIn("not made for linux/mips, only for linux/" + HERE, done.stderr)

        # Mirrored as a layout, the index keeps its digest.
        self.fetched(source, digest, format="oci-layout")
        answer = self.resource.ok("out", {"source": self.source(tag="mirrored"), "params": {"image": "out/oci"}}, str(self.folder))
        self.assertEqual(answer["version"], {"tag": "mirrored", "digest": digest})

    def test_in_skips_the_download(self):
        digest = self.push("latest")
        self.fetched(self.source(), digest, skip_download=True)
        self.assertEqual(sorted(p.name for p in self.out.iterdir()), ["digest", "repository", "tag"])
        done = self.fetch(self.source(), "sha256:" + "1" * 64, skip_download=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("1" * 64, done.stderr)

    def test_in_and_out_of_archives_and_layouts(self):
        digest = self.push("latest", config=CONFIG)
        source = self.source(tag="latest")
        self.fetched(source, digest, format="oci")
        with tarfile.open(self.out / "image.tar") as archive:
            entry = json.load(archive.extractfile("manifest.json"))[0]
        self.assertEqual(entry["RepoTags"], [source["repository"] + ":latest"])
        inspected = subprocess.run(["skopeo", "inspect", "--config", f"docker-archive:{self.out}/image.tar"], check=True, capture_output=True)
        self.assertEqual(json.loads(inspected.stdout)["config"]["User"], "nobody")

        def put(image, tag):
            answer = self.resource.ok("out", {"source": self.source(tag=tag), "params": {"image": image}}, str(self.folder))
            name = f"{self._testMethodName[:60].lower()}:{tag}"
            self.assertEqual(answer["version"], {"tag": tag, "digest": self.registry.inspect(name)[0]})
            self.fetched(self.source(), answer["version"]["digest"], tag=tag)
            self.assertEqual((self.out / "rootfs/content").read_text(), "x")
            self.assertEqual(json.loads((self.out / "metadata.json").read_text())["user"], "nobody")
            return answer["version"]["digest"]

        shutil.copy(self.out / "image.tar", self.folder / "compressed.tar")
        put("compressed.tar", "compressed")
        self.fetched(source, digest, format="oci-layout")
        self.assertEqual((self.out / "oci/single-image-digest").read_text(), digest)
        shutil.move(self.out / "oci", self.folder / "oci")
        self.assertEqual(put("oc?", "layout"), digest)
        for kind in ("docker-archive", "oci-archive"):  # plain layers; a layout in an archive
            path = self.folder / f"{kind}.tar"
            subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"oci:{self.folder}/pushed", f"{kind}:{path}:{source['repository']}:x"],
                           check=True, capture_output=True)
            put(f"{kind}.tar", kind)

    def test_out_tags(self):
        self.push("1.3.0", "2.0.0", "2.5.0-slim", content="before")
        folder, digest = self.layout("new", Image(BASE, architecture=HERE))
        (self.folder / "tags").write_text("one two\nthree\n")

        def put(source=None, **params):
            answer = self.resource.ok("out", {"source": self.source(**(source or {})), "params": {"image": "new", **params}}, str(self.folder))
            fields = {f["name"]: f["value"] for f in answer["metadata"]}
            self.assertEqual(fields["repository"], self.source()["repository"])
            return fields["tags"].split()

        self.assertEqual(put(version="v1.2.4", bump_aliases=True), ["1.2.4", "1.2"])
        self.assertEqual(put(version="1.3.1", bump_aliases=True), ["1.3.1", "1", "1.3"])
        self.assertEqual(put(version="3.0", bump_aliases=True), ["3.0.0", "latest", "3", "3.0"])
        self.assertEqual(put(version="3.1.0-rc.1", bump_aliases=True), ["3.1.0-rc.1"])
        self.assertEqual(put({"variant": "slim"}, version="2.6.0", bump_aliases=True), ["2.6.0-slim", "slim", "2-slim", "2.6-slim"])
        self.assertEqual(put({"tag": "main"}, additional_tags="tags", tag_prefix="p-"), ["main", "p-one", "p-two", "p-three"])
        name = self.source()["repository"].split("/", 1)[1]
        self.assertEqual(self.registry.inspect(f"{name}:p-three"), self.registry.inspect(f"{name}:main"))
        layers = self.registry.inspect(f"{name}@{digest}")[1]["layers"]
        self.assertEqual([layer["digest"] for layer in layers], list(Image(BASE).blobs)[:1])

        def refused(source=None, **params):
            done = self.resource.run("out", {"source": self.source(**(source or {})), "params": params}, str(self.folder))
            self.assertEqual(done.returncode, 1)
            return done.stderr

        self.assertIn("no tag to push", refused(image="new"))
        self.assertIn("'one.two' is no version", refused(image="new", version="one.two"))
        self.assertIn("tag_prefix", refused(image="new", tag_prefix="p-"))
        self.assertIn("no file matches params.image 'none*'", refused({"tag": "x"}, image="none*"))
        self.assertIn("params.image is required", refused({"tag": "x"}))
        (self.folder / "text").write_text("no archive")
        self.assertIn("is no (uncompressed) tar file", refused({"tag": "x"}, image="text"))
        (next((folder / "blobs/sha256").iterdir())).unlink()
        self.assertIn("has no file 'blobs/sha256/", refused({"tag": "x"}, image="new"))

    def test_passwords(self):
        users = self.folder / "users"
        users.write_text("user:$2b$04$0xPKaJs6rLvbu.K8tOXa1Owi26mo5HrwweiaLypPc1ji7T0mMr/T2\n")  # htpasswd's bcrypt of "secret"
        registry = DockerRegistry(self.folder / "closed", users)
        self.addCleanup(registry.stop)
        folder, digest = self.layout("image", Image(BASE, architecture=HERE))
        source = {"repository": f"{registry.host}/image", "tag": "latest", "username": "user", "password": "secret"}
        self.resource.ok("out", {"source": source, "params": {"image": "image"}}, str(self.folder))
        (version,) = self.resource.ok("check", {"source": source})
        self.fetched(source, version["digest"])
        for wrong in ({"username": "", "password": ""}, {"password": "guessed"}):
            done = self.resource.run("check", {"source": {**source, **wrong}})
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"checking {registry.host}/image", done.stderr)
            self.assertNotIn("guessed", done.stderr)


class HostileRegistryTest(ImageCase):
    def setUp(self):
        super().setUp()
        self.registry = FakeRegistry()
        self.addCleanup(self.registry.stop)
        self.source = {"repository": f"{self.registry.host}/image"}

    def refused(self, image, *words):
        done = self.fetch(self.source, image.digest)
        self.assertEqual(done.returncode, 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(list(self.out.iterdir()), [])

    def add(self, *layers):
        image = Image(*layers, architecture=HERE)
        self.registry.add("latest", image)
        return image

    def test_a_manifest_of_another_digest(self):
        image, other = self.add(BASE), Image(UPPER, architecture=HERE)
        self.registry.manifests[image.digest] = (other.manifest, "application/vnd.oci.image.manifest.v1+json", image.digest)
        self.refused(image, image.digest, other.digest)

    def test_a_layer_of_another_digest(self):
        image = self.add(BASE)
        layer = json.loads(image.manifest)["layers"][0]
        data = bytearray(self.registry.blobs[layer["digest"]])
        data[-5] ^= 1
        self.registry.blobs[layer["digest"]] = bytes(data)
        self.refused(image, layer["digest"], digest_of(bytes(data)))

    def test_a_layer_that_is_longer_than_said(self):
        image = self.add(BASE)
        layer = json.loads(image.manifest)["layers"][0]
        self.registry.blobs[layer["digest"]] += b"more"
        self.refused(image, layer["digest"], "longer")

    def test_a_layer_of_other_content_than_the_config_says(self):
        image = Image(BASE, architecture=HERE)
        config = json.loads(image.manifest)["config"]["digest"]
        lie = image.blobs[config].replace(digest_of(BASE).encode(), digest_of(UPPER).encode())
        image.manifest = image.manifest.replace(config.encode(), image.blob(lie).encode())
        image.digest = digest_of(image.manifest)
        self.registry.add("latest", image)
        self.refused(image, digest_of(BASE), digest_of(UPPER))

    def test_entries_that_leave_the_folder(self):
        self.refused(self.add(tar(("../escaped", "x"))), "../escaped", "'..'")
        self.assertFalse((self.out.parent / "escaped").exists())
        link = tarfile.TarInfo("way")
        link.type, link.linkname = tarfile.SYMTYPE, "../../.."
        # Links are kept and followed as the container would: below its root.
        image = self.add(tar(link, ("way/escaped", "x")))
        self.fetched(self.source, image.digest)
        self.assertTrue((self.out / "rootfs/escaped").exists())
        self.assertFalse((self.folder.parent / "escaped").exists())
        hard = tarfile.TarInfo("stolen")
        hard.type, hard.linkname = tarfile.LNKTYPE, "../../secret"
        (self.folder / "secret").write_text("secret")
        self.refused(self.add(tar(hard)), "stolen", "'..'")
        self.refused(self.add(tar(("x/.wh...", ""))), "x/.wh...")

    def test_devices_are_left_out(self):
        device = tarfile.TarInfo("disk")
        device.type, device.devmajor, device.devminor = tarfile.BLKTYPE, 8, 0
        image = self.add(tar(device, ("file", "x")))
        self.fetched(self.source, image.digest)
        self.assertEqual([p.name for p in (self.out / "rootfs").iterdir()], ["file"])
        self.assertFalse(any(stat.S_ISBLK(os.lstat(p).st_mode) for p in self.out.rglob("*")))

    def test_garbage(self):
        image = self.add(b"no tar at all" * 100)
        self.refused(image, "damaged")
        self.registry.manifests["latest"] = (b"{nope", "text/plain", "")
        done = self.resource.run("check", {"source": {**self.source, "tag": "latest"}})
        self.assertIn("no JSON object", done.stderr)

    def test_tokens_and_tls(self):
        closed = FakeRegistry(token="abc")
        self.addCleanup(closed.stop)
        image = Image(BASE, architecture=HERE)
        closed.add("latest", image)
        source = {"repository": f"{closed.host}/image", "tag": "latest"}
        self.assertEqual(self.resource.ok("check", {"source": source}), [{"tag": "latest", "digest": image.digest}])
        self.assertTrue(any("scope=repository%3Aimage%3Apull" in path for _, path in closed.asked))

        pem = self.folder / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", self.folder / "key.pem", "-out", pem], check=True, capture_output=True)
        certificate = pem.read_text()
        pem.write_text(certificate + (self.folder / "key.pem").read_text())
        secure = FakeRegistry(certificate=pem)
        self.addCleanup(secure.stop)
        secure.add("latest", image)
        source = {"repository": f"{secure.host}/image", "tag": "latest"}
        for extra in ({"ca_certs": [certificate]}, {"insecure": True}):
            self.assertEqual(len(self.resource.ok("check", {"source": {**source, **extra}})), 1)
        done = self.resource.run("check", {"source": source})
        self.assertEqual(done.returncode, 1)
        self.assertIn(secure.host, done.stderr)
        self.assertIn("no PEM", self.resource.run("check", {"source": {**source, "ca_certs": ["x"]}}).stderr)

    def test_a_mirror_of_docker_hub(self):
        image = self.add(BASE)
        source = {"repository": "busybox", "tag": "latest", "registry_mirror": {"host": self.registry.host}}
        self.assertEqual(len(self.resource.ok("check", {"source": source})), 1)
        self.fetched(source, image.digest)
        self.assertEqual((self.out / "repository").read_text(), "busybox")
        self.assertIn(("GET", f"/v2/library/busybox/manifests/{image.digest}"), self.registry.asked)

    def test_mistakes_are_named(self):
        def refused(source, action="check", **more):
            done = self.resource.run(action, {"source": source, **more}, *([] if action == "check" else [str(self.folder)]))
            self.assertEqual(done.returncode, 1)
            return done.stderr

        self.assertIn("source.repository is required", refused({}))
        self.assertIn("unknown field 'tags' in source", refused({"repository": "x", "tags": "y"}))
        self.assertIn("source: insecure: expected boolean, got string", refused({"repository": "x", "insecure": "yes"}))
        self.assertIn("unknown field 'arch' in source.platform", refused({"repository": "x", "platform": {"arch": "y"}}))
        self.assertIn("source.aws_region", refused({"repository": "x", "aws_region": "eu-west-1"}))
        self.assertIn("not the name of an image", refused({"repository": "UPPER/case:tag"}))
        self.assertIn("source.semver_constraint", refused({**self.source, "semver_constraint": ">> 1"}))
        self.assertIn("source.tag_regex", refused({**self.source, "tag_regex": "("}))
        version = {"tag": "latest", "digest": "sha256:" + "0" * 64}
        self.assertIn("params.format must be", refused(self.source, "in", version=version, params={"format": "zip"}))
        self.assertIn("no sha256 digest", refused(self.source, "in", version={"tag": "x", "digest": "sha256:../../etc"}))
        self.assertIn("content_trust", refused({**self.source, "tag": "x", "content_trust": {"server": "y"}}, "out", params={"image": "z"}))


class ImageOfTheTypeTest(unittest.TestCase):
    def test_the_program_starts_in_its_own_root(self):
        harness.require_root()
        archive = harness.BUILD / "resource-types/registry-image/rootfs.tgz"
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)
            done = subprocess.run(["chroot", folder, "/opt/resource/check"], input='{"source":{}}', text=True, capture_output=True)
        self.assertIn("source.repository is required", done.stderr)


if __name__ == "__main__":
    harness.main()
