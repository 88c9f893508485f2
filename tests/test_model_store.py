import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import numpy as safetensors
from torchxrayvision import autoencoders
from torchxrayvision.baseline_models.chestx_det import PSPNet
from torchxrayvision.models import DenseNet, model_urls

from mcads_node.architectures import layout
from mcads_node.errors import ConfigError, ModelUnusable, PeerUnreachable, PermanentError, TransientError
from mcads_node.model_store.download import download
from mcads_node.model_store.manifest import Download
from mcads_node.model_store.store import ModelStatus, ModelStore
from mcads_node.report.codes import finding_codes
from tests.model_samples import DEMONSTRATION, MODELS, OFFICIAL, seeded, shipped_store


@dataclass
class Server:
    """A web server of one file, as good or as bad as a test wants it."""

    content: bytes
    url: str = ""
    ranges: bool = True
    etag: str = '"one"'
    #: status of every answer, where it shall not be the right one
    status: int | None = None
    #: bytes of each answer's body before the connection breaks, first answer first; then whole ones
    breaks: list[int] = field(default_factory=list)
    announce_length: bool = True
    #: Range header of each request
    asked: list[str | None] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers["Range"]
        self.asked.append(asked)
        if self.status is not None:
            request.send_response(self.status)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        unchanged = request.headers["If-Range"] in (None, self.etag)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges and unchanged else 0
        if start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.announce_length:
            request.send_header("Content-Length", str(len(body)))
        request.send_header("ETag", self.etag)
        request.end_headers()
        request.wfile.write(body[: self.breaks.pop(0)] if self.breaks else body)
        request.close_connection = True


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Server]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running: list[ThreadingHTTPServer] = []

    def start(content: bytes) -> Server:
        served = Server(content)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served.answer(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        served.url = f"http://127.0.0.1:{server.server_port}/official.pt"
        return served

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(5)
    made: torch.nn.Module = DenseNet()
    return made.eval()


@pytest.fixture(scope="module")
def official(network: torch.nn.Module) -> bytes:
    """A whole pickled module in the format of before torch 1.6, as the official files are."""
    buffer = io.BytesIO()
    torch.save(network, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def store_of(tmp_path: Path, url: str, **changes: Any) -> ModelStore:
    document = yaml.safe_load((MODELS / OFFICIAL / "manifest.yaml").read_text(encoding="utf-8"))
    document["source"]["url"] = url
    document["source"] |= changes.get("source", {})
    document["weights"] |= changes.get("weights", {})
    folder = tmp_path / "models" / OFFICIAL
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return ModelStore(models_dir=tmp_path / "models", weights_dir=tmp_path / "weights")


# --- manifests and names


NAMES = [
    f"densenet121-res224-{data}" for data in ("all", "rsna", "nih", "pc", "chex", "mimic_nb", "mimic_ch")
] + ["resnet50-res512-all"]


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_is_torchxrayvisions_own_table(name: str) -> None:
    manifest, theirs = shipped_store(Path("nowhere")).manifest(name), model_urls[name]
    assert isinstance(manifest.source, Download)
    assert (manifest.source.torchxrayvision, manifest.source.url) == (name, theirs["weights_url"])
    assert [output.label for output in manifest.outputs] == theirs["labels"]
    np.testing.assert_array_equal(manifest.operating_points, theirs["op_threshs"])
    # what the model was not trained on is absent, and not 0.5
    trained = zip(theirs["labels"], theirs["op_threshs"], strict=True)
    assert manifest.labels == tuple(label for label, point in trained if not np.isnan(point))
    assert manifest.input.size == theirs.get("input_resolution", 224)
    assert "" not in manifest.thresholds
    assert set(manifest.labels) <= set(finding_codes())


def test_every_classifier_of_torchxrayvision_is_there() -> None:
    assert set(NAMES) == {name for name in model_urls if name.startswith(("densenet121-res224-", "resnet"))}


def test_the_shipped_models() -> None:
    store = shipped_store(Path("nowhere"))
    assert set(store.list()) >= {OFFICIAL, DEMONSTRATION, *NAMES}
    assert store.manifest(OFFICIAL).caution == ""
    assert store.manifest(DEMONSTRATION).caution == "DEMONSTRATION MODEL — NOT FOR CLINICAL USE"
    assert store.status(OFFICIAL) is ModelStatus.ABSENT


def test_only_the_configuration_lets_a_demonstration_model_serve() -> None:
    store = shipped_store(Path("nowhere"))
    store.require_allowed(OFFICIAL, allow_demonstration=False)
    store.require_allowed(DEMONSTRATION, allow_demonstration=True)
    with pytest.raises(ModelUnusable, match="allow_demonstration_models"):
        store.require_allowed(DEMONSTRATION, allow_demonstration=False)


@pytest.mark.parametrize("name", ["", "..", "../models/x", "/etc", "a/b", "a..b", "A", "x" * 65, "a\n", ".a"])
def test_a_name_never_leaves_the_folder(name: str) -> None:
    with pytest.raises(ModelUnusable, match="there is no model"):
        shipped_store(Path("nowhere")).manifest(name)


def test_a_folder_with_another_models_manifest_is_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, "https://example.org/x.pt")
    (tmp_path / "models" / OFFICIAL).rename(tmp_path / "models" / "other")
    with pytest.raises(ModelUnusable, match="expected name: other"):
        store.manifest("other")


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("outputs", [], "outputs"),
        ("outputs", [{"label": "A", "operating_point": 1.5}], "operating_point"),
        ("outputs", [{"label": "A", "operating_point": 0.5, "threshold": -1}], "threshold"),
        ("outputs", [{"label": "A", "operating_point": p} for p in (0.4, 0.5)], "more than once"),
        ("outputs", [{"label": "", "operating_point": 0.5}], "without a label"),
        ("outputs", [{"label": "A", "operating_point": None}], "at least one output"),
        ("weights", {"digest": "abc"}, "digest"),
        ("source", {"kind": "shipped"}, "expected the SHA-256 of what is shipped"),
        ("source", {"kind": "download", "torchxrayvision": "x", "url": "http://example.org/x"}, "https"),
        ("source", {"kind": "download", "torchxrayvision": "x", "url": "file:///x"}, "https"),
        ("input", {"size": 224, "low": 5, "high": 5}, "low < high"),
        ("demonstration", True, "caution"),
        ("architecture", "resnet51", "architecture"),
        ("name", "../x", "name"),
        ("colour", "red", "colour"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, key: str, value: object, complaint: str) -> None:
    store = store_of(tmp_path, "https://example.org/x.pt")
    path = tmp_path / "models" / OFFICIAL / "manifest.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8")) | {key: value}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint):
        store.manifest(OFFICIAL)


def test_the_store_does_not_import_torch() -> None:
    code = "import sys, mcads_node.model_store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- weights that are shipped


def test_shipped_weights_are_there_and_the_pinned_ones(tmp_path: Path) -> None:
    store = shipped_store(tmp_path)
    assert store.status(DEMONSTRATION) is ModelStatus.READY
    path = store.weights_path(DEMONSTRATION)
    assert path == MODELS / DEMONSTRATION / "weights.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert store.verify(DEMONSTRATION) == store.manifest(DEMONSTRATION).weights.digest == digest
    assert store.fetch(DEMONSTRATION) == path
    assert not list(tmp_path.iterdir())


def test_a_flipped_bit_or_a_lost_file_is_found_and_no_fetch_hides_it(tmp_path: Path) -> None:
    shutil.copytree(MODELS / DEMONSTRATION, tmp_path / "models" / DEMONSTRATION)
    store = ModelStore(models_dir=tmp_path / "models", weights_dir=tmp_path / "weights")
    path = store.weights_path(DEMONSTRATION)
    pinned, data = store.verify(DEMONSTRATION), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert store.status(DEMONSTRATION) is ModelStatus.MISMATCH
    for tried in (store.read, store.fetch):
        with pytest.raises(ModelUnusable, match=f"expected SHA-256 {pinned}.*install the node again"):
            tried(DEMONSTRATION)
    path.unlink()
    assert store.status(DEMONSTRATION) is ModelStatus.ABSENT
    with pytest.raises(ModelUnusable, match=r"weights are absent.*install the node again"):
        store.fetch(DEMONSTRATION)


# --- fetching


@pytest.mark.parametrize("legacy", [True, False])
def test_fetch_downloads_converts_and_records(
    tmp_path: Path, serve: Callable[[bytes], Server], network: torch.nn.Module, legacy: bool
) -> None:
    buffer = io.BytesIO()
    torch.save(network, buffer, _use_new_zipfile_serialization=not legacy)
    server = serve(buffer.getvalue())
    store = store_of(tmp_path, server.url)
    with pytest.raises(ModelUnusable, match=f"run: mcads-node models fetch {OFFICIAL}"):
        store.weights_path(OFFICIAL)
    seen: list[tuple[int, int | None]] = []
    path = store.fetch(OFFICIAL, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, len(server.content))
    assert seen[-1] == (len(server.content), len(server.content))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    expected = {k: v.numpy() for k, v in network.state_dict().items() if "num_batches" not in k}
    found = safetensors.load(path.read_bytes())
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    lock = json.loads((path.parent / "weights.lock").read_text(encoding="utf-8"))
    assert lock["digest"] == store.verify(OFFICIAL) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert lock["origin"] == server.url
    assert lock["origin_digest"] == hashlib.sha256(server.content).hexdigest()
    assert names_in(path.parent) == [".fetch", "weights.lock", "weights.safetensors"]
    store.fetch(OFFICIAL)
    assert len(server.asked) == 1  # what is here and verified is not downloaded again


def test_weights_are_verified_on_every_load_against_the_first_fetch(
    tmp_path: Path, official: bytes, serve: Callable[[bytes], Server]
) -> None:
    server = serve(official)
    store = store_of(tmp_path, server.url)
    path = store.fetch(OFFICIAL)
    first = path.read_bytes()
    path.write_bytes(safetensors.save(seeded(1, 18)))
    assert store.status(OFFICIAL) is ModelStatus.MISMATCH
    with pytest.raises(ModelUnusable, match="is not what it was"):
        store.weights_path(OFFICIAL)
    # the server's file has changed too: it is not trusted over the record of the first fetch
    server.content = module_file(torch.nn.Module.state_dict(DenseNet()))
    with pytest.raises(ModelUnusable, match="not the pinned ones"):
        store.fetch(OFFICIAL)
    server.content = official
    assert store.fetch(OFFICIAL).read_bytes() == first


def test_unrecorded_weights_are_not_trusted(
    tmp_path: Path, official: bytes, serve: Callable[[bytes], Server]
) -> None:
    store = store_of(tmp_path, serve(official).url)
    folder = tmp_path / "weights" / OFFICIAL
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(safetensors.save(seeded(1, 18)))
    assert store.status(OFFICIAL) is ModelStatus.MISMATCH
    with pytest.raises(ModelUnusable, match="is not known"):
        store.read(OFFICIAL)
    store.fetch(OFFICIAL)
    assert store.status(OFFICIAL) is ModelStatus.READY


def test_a_broken_record_is_not_taken_for_none(tmp_path: Path) -> None:
    store = store_of(tmp_path, "https://example.org/x.pt")
    folder = tmp_path / "weights" / OFFICIAL
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"x")
    (folder / "weights.lock").write_text("{", encoding="utf-8")
    with pytest.raises(ModelUnusable, match=r"weights\.lock: cannot be read"):
        store.read(OFFICIAL)


def test_weights_beside_the_manifest_serve_where_they_are_recorded(tmp_path: Path) -> None:
    store = store_of(tmp_path, "https://example.org/x.pt")
    folder = tmp_path / "models" / OFFICIAL
    data = safetensors.save(seeded(1, 18))
    (folder / "weights.safetensors").write_bytes(data)
    assert store.status(OFFICIAL) is ModelStatus.MISMATCH
    (folder / "weights.lock").write_text(json.dumps({"digest": hashlib.sha256(data).hexdigest()}))
    assert store.weights_path(OFFICIAL) == folder / "weights.safetensors"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"source": {"digest": "0" * 64}}, "the official file is not the pinned one"),
        ({"weights": {"digest": "0" * 64}}, "the weights made from .* are not the pinned ones"),
    ],
)
def test_the_manifests_pins_must_match(
    tmp_path: Path, official: bytes, serve: Callable[[bytes], Server], changes: dict[str, Any], complaint: str
) -> None:
    store = store_of(tmp_path, serve(official).url, **changes)
    with pytest.raises(ModelUnusable, match=complaint):
        store.fetch(OFFICIAL)
    assert names_in(tmp_path / "weights" / OFFICIAL) == [".fetch"]


def test_a_file_fetched_by_hand_is_taken_and_kept(tmp_path: Path, official: bytes) -> None:
    store = store_of(tmp_path, "https://example.invalid/x.pt")
    file = tmp_path / "by-hand.pt"
    file.write_bytes(official)
    store.fetch(OFFICIAL, file=file)
    assert store.status(OFFICIAL) is ModelStatus.READY
    assert file.read_bytes() == official


def test_a_transfer_that_ends_early_without_a_word_is_refused(
    tmp_path: Path, official: bytes, serve: Callable[[bytes], Server]
) -> None:
    # no length is announced: nobody can tell that it is not whole, until it is read
    server = serve(official)
    server.announce_length = False
    server.breaks = [1_000_000]
    store = store_of(tmp_path, server.url)
    with pytest.raises(ModelUnusable, match="the file was refused"):
        store.fetch(OFFICIAL)
    assert names_in(tmp_path / "weights" / OFFICIAL) == [".fetch"]


def test_two_fetches_at_once_are_not_allowed(tmp_path: Path, official: bytes) -> None:
    store = store_of(tmp_path, "https://example.invalid/x.pt")
    code = (
        "import fcntl, pathlib, sys; f = pathlib.Path(sys.argv[1]); f.parent.mkdir(parents=True);"
        "s = f.open('w'); fcntl.flock(s, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    lock = tmp_path / "weights" / OFFICIAL / ".fetch"
    with subprocess.Popen(
        [sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(TransientError, match="another process"):
            store.fetch(OFFICIAL)


# --- files that are refused


def module_file(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


class Runs:
    """A pickle of it calls a function when it is read."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def legacy(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def with_member(name: str) -> bytes:
    buffer = io.BytesIO(module_file({}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(f"archive/{name}", b"")
    return buffer.getvalue()


def changed(network: torch.nn.Module, name: str, value: torch.Tensor | None) -> bytes:
    state = dict(network.state_dict())
    if value is None:
        del state[name]
    else:
        state[name] = value
    return module_file(state)


def hidden_in_a_layer(network: torch.nn.Module, payload: object, write: Callable[[object], bytes]) -> bytes:
    """A file that is right in every tensor, and has something more in one layer's state."""
    layer = network.get_submodule("features.norm0")
    layer.extra = payload  # type: ignore[assignment]
    try:
        return write(network)
    finally:
        del layer.extra


@pytest.mark.parametrize(("write", "hidden"), [(module_file, False), (legacy, True)])
def test_a_pickle_that_runs_code_is_refused(
    tmp_path: Path, network: torch.nn.Module, write: Callable[[object], bytes], hidden: bool
) -> None:
    witness = tmp_path / "witness"
    payload = Runs(os.system, f"touch {witness}")
    content = hidden_in_a_layer(network, payload, write) if hidden else write(payload)
    # the payload works: an ordinary unpickler runs it
    torch.load(io.BytesIO(content), weights_only=False)
    assert witness.exists()
    witness.unlink()
    file = tmp_path / "evil.pt"
    file.write_bytes(content)
    store = store_of(tmp_path, "https://example.invalid/x.pt")
    with pytest.raises(ModelUnusable, match=r"the file was refused: it names posix\.system"):
        store.fetch(OFFICIAL, file=file)
    assert not witness.exists()
    assert store.status(OFFICIAL) is ModelStatus.ABSENT


@pytest.mark.parametrize(
    "function",
    [eval, exec, getattr, __import__, open, subprocess.Popen, torch.load, torch.hub.load, pickle.loads],
)
def test_no_function_but_those_that_rebuild_tensors_is_known(
    function: Callable[..., object], tmp_path: Path
) -> None:
    from mcads_node.model_store.convert_weights import read_tensors

    file = tmp_path / "evil.pt"
    file.write_bytes(legacy(Runs(function, "x")))
    with pytest.raises(ModelUnusable, match="it names"):
        read_tensors(file)


@pytest.mark.parametrize(
    "target", [b"ctorch.nn.modules.linear\nLinear\n", b"ctorch._utils\n_rebuild_tensor_v2\n"]
)
def test_a_pickle_cannot_change_what_it_names(target: bytes) -> None:
    from mcads_node.model_store.convert_weights import Unpickler

    # BUILD with a pair: (None, {"dump_patches": True}) sets the attribute on the class or function itself
    stream = b"\x80\x02" + target + b"N}X\x0c\x00\x00\x00dump_patches\x88s\x86b."
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        Unpickler(io.BytesIO(stream)).load()


def test_stand_ins_keep_nothing_but_tensors() -> None:
    from mcads_node.model_store.convert_weights import Unpickler

    stream = io.BytesIO()
    layer = torch.nn.Sequential(torch.nn.ReLU())
    layer.dump_patches = True
    pickle.dump(layer, stream, protocol=2)
    stand_in = Unpickler(io.BytesIO(stream.getvalue())).load()
    assert set(stand_in.parts) == {"_parameters", "_buffers", "_modules"}
    assert type(stand_in).__module__ != "torch.nn.modules.container"
    assert stand_in.dump_patches is False
    with pytest.raises(AttributeError):
        stand_in.extra = 1


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("html", "not a file of weights"),
        ("empty", "not a file of weights"),
        ("script", "not a file of weights"),
        ("truncated", "the file was refused"),
        ("truncated legacy", "the file was refused"),
        ("other network", "606 are missing .* 2 are not of it"),
        ("tensor missing", r"1 are missing \['features.norm0.weight'\]"),
        ("shape", r"classifier.bias: expected float32 \(18,\), found float32 \(17,\)"),
        ("type", r"classifier.bias: expected float32 \(18,\), found float64 \(18,\)"),
        ("not finite", "classifier.bias: holds values that are not finite"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, official: bytes, network: torch.nn.Module, name: str, complaint: str
) -> None:
    make: dict[str, Callable[[], bytes]] = {
        "html": lambda: b"<html>Sign in to the hospital's proxy</html>",
        "empty": lambda: b"",
        "script": lambda: with_member("constants.pkl"),
        "truncated": lambda: module_file(network)[:-5000],
        "truncated legacy": lambda: official[:1_000_000],
        "other network": lambda: legacy(torch.nn.Sequential(torch.nn.Linear(2, 3))),
        "tensor missing": lambda: changed(network, "features.norm0.weight", None),
        "shape": lambda: changed(network, "classifier.bias", torch.zeros(17)),
        "type": lambda: changed(network, "classifier.bias", torch.zeros(18, dtype=torch.float64)),
        "not finite": lambda: changed(network, "classifier.bias", torch.full((18,), torch.nan)),
    }
    file = tmp_path / "other.pt"
    file.write_bytes(make[name]())
    from mcads_node.model_store.convert_weights import read_tensors, write

    with pytest.raises(ModelUnusable, match=complaint):
        write(read_tensors(file), tmp_path / "out", "densenet121", 18)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("architecture", "outputs", "prefix"),
    [("resnet50", 18, ""), ("pspnet", 14, "module."), ("resnet-ae101", 1, "")],
)
def test_official_state_dictionaries_are_converted(
    tmp_path: Path, architecture: str, outputs: int, prefix: str
) -> None:
    """As they are published: counts of batches within, and the names of a network trained in parallel."""
    from mcads_node.model_store.convert_weights import read_tensors, write

    expected = {name: torch.zeros(shape) for name, shape in layout(architecture, outputs).items()}
    official = {prefix + name: tensor for name, tensor in expected.items()}
    official[f"{prefix}layer1.0.bn1.num_batches_tracked"] = torch.tensor(7)
    if architecture == "pspnet":
        official[f"{prefix}aux_cls.bias"] = torch.zeros(outputs)
    torch.save(OrderedDict(official), tmp_path / "official.pt")
    write(read_tensors(tmp_path / "official.pt"), tmp_path / "out", architecture, outputs)
    found = safetensors.load((tmp_path / "out").read_bytes())
    assert {name: tensor.shape for name, tensor in found.items()} == layout(architecture, outputs)


# --- models of other kinds


def test_torchxrayvisions_other_models_have_manifests() -> None:
    store = shipped_store(Path("nowhere"))
    segmentation = store.segmentation("pspnet-chestx-det")
    assert list(segmentation.structures) == PSPNet.targets
    assert (segmentation.input.size, segmentation.threshold) == (512, 0.5)
    autoencoder = store.autoencoder("resnet-ae101-elastic")
    theirs = autoencoders.model_urls["101-elastic"]
    assert isinstance(autoencoder.source, Download)
    assert autoencoder.source.url == theirs["weights_url"]
    assert autoencoder.input.size == theirs["resolution"]
    assert [autoencoder.input.low, autoencoder.input.high] == theirs["image_range"]
    assert store.status("pspnet-chestx-det") is ModelStatus.ABSENT
    with pytest.raises(ModelUnusable, match="models fetch resnet-ae101-elastic"):
        store.verify("resnet-ae101-elastic")


def test_a_model_of_one_kind_is_none_of_another() -> None:
    store = shipped_store(Path("nowhere"))
    with pytest.raises(ModelUnusable, match="expected kind: segmentation, found classifier"):
        store.segmentation(OFFICIAL)
    with pytest.raises(ModelUnusable, match="expected kind: autoencoder, found segmentation"):
        store.autoencoder("pspnet-chestx-det")


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("kind", "classify", "kind: expected one of classifier, segmentation, autoencoder; found 'classify'"),
        ("kind", "classifier", "outputs"),
        ("structures", ["Heart", "Heart"], "each structure once"),
        ("structures", [], "structures"),
        ("threshold", 1, "threshold"),
        ("architecture", "resnet50", "architecture"),
    ],
)
def test_a_wrong_manifest_of_a_segmentation_is_refused(
    tmp_path: Path, key: str, value: object, complaint: str
) -> None:
    name = "pspnet-chestx-det"
    document = yaml.safe_load((MODELS / name / "manifest.yaml").read_text(encoding="utf-8")) | {key: value}
    (tmp_path / name).mkdir()
    (tmp_path / name / "manifest.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint):
        ModelStore(tmp_path, tmp_path).segmentation(name)


# --- the transfer itself


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file.pt"


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


CONTENT = np.random.default_rng(3).bytes(300_000)


def test_a_broken_transfer_is_taken_up_where_it_broke(target: Path, serve: Callable[[bytes], Server]) -> None:
    server = serve(CONTENT)
    server.breaks = [2 * 65_536, 65_536]
    download(server.url, target, pause=0)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=131072-", "bytes=196608-"]
    assert names_in(target.parent) == [target.name]


def test_a_later_run_resumes(target: Path, serve: Callable[[bytes], Server]) -> None:
    server = serve(CONTENT)
    server.breaks = [65_536, 0, 0, 0, 0]
    with pytest.raises(PeerUnreachable, match="broke at 65536 bytes"):
        download(server.url, target, pause=0)
    assert not target.exists()
    server.breaks.clear()
    server.asked.clear()
    download(server.url, target, pause=0)
    assert target.read_bytes() == CONTENT
    assert server.asked == ["bytes=65536-"]


def test_a_server_that_knows_no_ranges(target: Path, serve: Callable[[bytes], Server]) -> None:
    server = serve(CONTENT)
    server.ranges = False
    server.breaks = [100_000]
    download(server.url, target, pause=0)
    assert target.read_bytes() == CONTENT


def test_two_versions_of_a_file_are_never_joined(target: Path, serve: Callable[[bytes], Server]) -> None:
    server = serve(CONTENT)
    server.breaks = [65_536, 0, 0, 0, 0]
    with pytest.raises(PeerUnreachable):
        download(server.url, target, pause=0)
    server.breaks.clear()
    server.content, server.etag = CONTENT[::-1], '"two"'
    download(server.url, target, pause=0)
    assert target.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("extra", [0, 1000])
def test_a_part_that_is_already_whole_or_too_long(
    target: Path, serve: Callable[[bytes], Server], extra: int
) -> None:
    server = serve(CONTENT)
    part_of(target).write_bytes(CONTENT + bytes(extra))
    download(server.url, target, pause=0)
    assert target.read_bytes() == CONTENT
    assert server.asked[0] == f"bytes={len(CONTENT) + extra}-"


def test_a_server_that_does_not_tell_the_length(target: Path, serve: Callable[[bytes], Server]) -> None:
    server = serve(CONTENT)
    server.announce_length = False
    seen: list[int | None] = []
    download(server.url, target, lambda _done, total: seen.append(total), pause=0)
    assert target.read_bytes() == CONTENT
    assert set(seen) == {None}


@pytest.mark.parametrize(
    ("status", "error"), [(404, PermanentError), (403, PermanentError), (503, PeerUnreachable)]
)
def test_what_the_server_answers(
    target: Path, serve: Callable[[bytes], Server], status: int, error: type[Exception]
) -> None:
    server = serve(CONTENT)
    server.status = status
    with pytest.raises(error, match=str(status)):
        download(server.url, target, pause=0)
    assert len(server.asked) == (4 if status == 503 else 1)


def test_nobody_listens(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(PeerUnreachable, match="ConnectionError"):
        download("http://127.0.0.1:1/x.pt", target, pause=0)
